//! How many instances of each model there should be, for whoever starts and stops them.

use super::model::gauge;
use super::row::{Metric, Value};

pub const LOAD: Metric = Metric {
    labels: &["model"],
    read: |view, emit| {
        let mut models = view.scaling.models.iter();
        models.try_for_each(|(model, scaled)| emit.gauge(&[model], Value::Float(scaled.load)))
    },
    ..gauge(
        "headroom_scaling_load_ratio",
        "Load of the instances of the model on this host, as a mean of the last minute: requests that run or wait, divided by slots, at least 1 if \
         requests wait and the KV cache is 90 % full; without slots the share of the KV cache in use, at least 1 while requests wait. Absent for \
         servers that report neither.",
    )
};

pub const INSTANCES: Metric = Metric {
    labels: &["model"],
    read: |view, emit| {
        let mut models = view.scaling.models.iter();
        models.try_for_each(|(model, scaled)| emit.gauge(&[model], Value::Int(scaled.instances)))
    },
    ..gauge(
        "headroom_scaling_instances",
        "Model servers on this host that serve the model and report how busy they are. Servers that users started, or whose user is not known, do not count.",
    )
};

pub const DESIRED: Metric = Metric {
    labels: &["model"],
    read: |view, emit| {
        let mut models = view.scaling.models.iter();
        models.try_for_each(|(model, scaled)| emit.gauge(&[model], Value::Int(scaled.desired)))
    },
    ..gauge(
        "headroom_scaling_desired_instances",
        "How many there should be on this host: one more above a load of scaling.above, one less below scaling.below, between scaling.least and \
         scaling.most, and no other number for scaling.cool_down. The agent starts and stops none. Absent once \
         no server that counts has the model: give the autoscaler a minimum of its own.",
    )
};
