//! Model files that processes use, how much of each is in memory, and stores of them.

use std::fmt;

use super::row::{Detail, Emit, Kind, Metric, Unit, Value};
use crate::statistic::model_file::{Amount, Store};
use crate::view::View;
use crate::view::model_file::Line;

const TIER: &[&str] = &["workload", "namespace", "pod", "container", "server", "file", "tier"];
const FILE: &[&str] = &["workload", "namespace", "pod", "container", "server", "file"];
const SERVER: &[&str] = &["workload", "namespace", "pod", "container", "server"];
const STORE: &[&str] = &["store"];

pub const BYTES: Metric = Metric {
    labels: TIER,
    read: |view, emit| {
        each(view, |labels, line| {
            let [workload, namespace, pod, container, server, file] = labels;
            let labels = [workload, namespace, pod, container, server, file, line.tier.label()];
            emit.gauge(&labels, Value::Int(line.bytes))
        })
    },
    ..gauge(
        "headroom_model_file_bytes",
        "Size of a model file that a process of a model server, or one that holds GPU memory, has mapped or open, or that its command line \
         names. tier is what it lies on, by the device's own facts: memory, ssd, hdd, network or unknown. Files of one name are added up.",
    )
};

pub const CACHED: Metric = Metric {
    read: |view, emit| {
        each(view, |labels, line| line.cached.map_or(Ok(()), |cached| emit.gauge(&labels, Value::Int(cached))))
    },
    ..gauge(
        "headroom_model_file_cached_bytes",
        "Bytes of that file in the host's page cache, whoever read them; absent where the kernel does not say (before Linux 6.5), or tells \
         only the file's owner.",
    )
};

pub const EVICTED: Metric = Metric {
    detail: Detail::Used,
    read: |view, emit| each(view, |labels, line| known(line, emit, &labels, line.evicted)),
    ..counter(
        "headroom_model_file_evicted_bytes_total",
        "Bytes of that file that were dropped from the page cache since the agent first saw the process use it; no more than that.",
    )
};

pub const READ_AGAIN: Metric = Metric {
    read: |view, emit| each(view, |labels, line| known(line, emit, &labels, line.again)),
    ..counter(
        "headroom_model_file_read_again_bytes_total",
        "Bytes of that file that came back into the page cache after they were dropped from it, since the agent first saw the process use \
         it: by the rise of what is cached, or, while it is mapped, some of it is missing and no process of its cgroup uses another model \
         file, by what the cgroup read again of all files (workingset_refault_file), or a page for each major page fault.",
    )
};

pub const FAULTS: Metric = Metric {
    labels: SERVER,
    unit: None,
    read: |view, emit| {
        for ((labels, server), sum) in view.model_files.servers(&view.workloads) {
            let [workload, namespace, pod, container] = labels;
            emit.counter(&[workload, namespace, pod, container, server], Value::Int(sum), 0)?;
        }
        Ok(())
    },
    ..counter(
        "headroom_model_major_faults_total",
        "Page faults that needed IO, of the processes that use model files, since they started.",
    )
};

pub const STORE_BYTES: Metric = Metric {
    read: |view, emit| stores(view, emit, |store| Some(store.bytes)),
    ..store(
        "headroom_model_store_bytes",
        "Size of the files of a store of models: Ollama's, Hugging Face's, or a folder of [[model_store]].",
    )
};

pub const STORE_FILES: Metric = Metric {
    unit: None,
    read: |view, emit| stores(view, emit, |store| Some(store.files)),
    ..store("headroom_model_store_files", "Files of that store.")
};

pub const STORE_DUPLICATES: Metric = Metric {
    read: |view, emit| stores(view, emit, |store| bytes(store.duplicates)),
    ..store(
        "headroom_model_store_duplicate_bytes",
        "Size of the files of that store whose content is in it, or in a store before it, already, by the SHA-256 that is their name; absent \
         where names do not say what is in a file.",
    )
};

pub const STORE_UNREFERENCED: Metric = Metric {
    read: |view, emit| stores(view, emit, |store| bytes(store.unreferenced)),
    ..store(
        "headroom_model_store_unreferenced_bytes",
        "Size of the files of that store that no manifest of Ollama, or no snapshot of Hugging Face, names.",
    )
};

pub const STORE_UNUSED: Metric = Metric {
    read: |view, emit| stores(view, emit, |store| bytes(store.unused)),
    ..store(
        "headroom_model_store_unused_bytes",
        "Size of the files of that store that nobody was seen to use for model_file.unused_after, and not before the agent ran for that \
         long; absent where it cannot be seen who uses a file.",
    )
};

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit: Some(Unit::Bytes),
        detail: Detail::Always,
        help,
        labels: FILE,
        needs: &[],
        read: |_, _| Ok(()),
    }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { kind: Kind::Counter, ..gauge(name, help) }
}

const fn store(name: &'static str, help: &'static str) -> Metric {
    Metric { labels: STORE, ..gauge(name, help) }
}

/// The files, with the values of their labels.
fn each(view: &View, mut emit: impl FnMut([&str; 6], &Line<'_>) -> fmt::Result) -> fmt::Result {
    for ((labels, server, file), line) in view.model_files.lines(&view.workloads) {
        let [workload, namespace, pod, container] = labels;
        emit([workload, namespace, pod, container, server, file], &line)?;
    }
    Ok(())
}

/// A number that is known only where it is known how much is cached.
fn known(line: &Line<'_>, emit: &mut Emit<'_>, labels: &[&str; 6], number: u64) -> fmt::Result {
    line.cached.map_or(Ok(()), |_| emit.counter(labels, Value::Int(number), 0))
}

fn stores(view: &View, emit: &mut Emit<'_>, number: impl Fn(&Store) -> Option<u64>) -> fmt::Result {
    for (name, store) in &view.model_files.stores {
        if let Some(number) = number(store) {
            emit.gauge(&[name], Value::Int(number))?;
        }
    }
    Ok(())
}

fn bytes(amount: Option<Amount>) -> Option<u64> {
    amount.map(|amount| amount.bytes)
}
