// What the overview shows of the host and of one workload, as [what, text]: a function of the workload's name. Peaks of five minutes
// are not among it: they are the history's, and metrics are of now.
(name) => {
  const text = (element) => element?.innerText.trim() ?? "";
  const own = (element) => element?.firstChild?.textContent.trim() ?? "";
  const found = [];
  const add = (subject, numbers) => {
    for (const [key, shown] of Object.entries(numbers)) if (shown !== undefined) found.push([`${subject} ${key}`, shown]);
  };
  const part = (whole, pattern) => pattern.exec(whole)?.slice(1) ?? [];
  for (const tile of document.querySelectorAll(".tile")) {
    const [title, share, whole] = [text(tile.querySelector("h3")), own(tile.querySelector(".big")), text(tile)];
    const rows = [...tile.querySelectorAll("tbody tr")].map((row) => [...row.children].map((cell) => own(cell) || text(cell)));
    if (title === "Memory") {
      const [used, total] = part(whole, /^(\S+ \S+) of (\S+ \S+)$/m);
      const [available, cache] = part(whole, /available (.*); cache (.*)/);
      add("memory", { share, used, total, available, cache });
      const [swap, swapped, all] = part(whole, /swap (\S+ %), (.*) of (.*)/);
      add("swap", { share: swap, used: swapped, total: all });
    } else if (title === "CPU") {
      const [count, wait] = part(whole, /of (\d+) CPUs; IO wait (.*)/);
      add("cpu", { share, count, wait });
      const [one, five, fifteen] = part(whole, /load (\S+) (\S+) (\S+)/);
      add("load", { 1: one, 5: five, 15: fifteen });
    } else if (title.startsWith("Pressure")) {
      for (const [resource, waiting, stalled] of rows) {
        add(resource.toLowerCase(), { waiting, stalled: resource === "CPU" ? undefined : stalled });
      }
    } else if (title.startsWith("Disks")) {
      for (const [device, busy, read, write] of rows) add(`disk ${device}`, { share: busy, read, write });
    } else if (title.startsWith("Filesystems")) {
      for (const [mountpoint, , share, left] of rows) add(`filesystem ${mountpoint}`, { share, free: left.replace(" left", "") });
    }
  }
  for (const row of document.querySelectorAll("[aria-labelledby=gpus] tbody tr")) {
    const [gpu, memory, , , busy, temperature, power, to, from] = [...row.children];
    const [used, total, share] = part(text(memory), /(\S+ \S+) of (\S+ \S+), (\S+ %)/);
    const [drawn, limit] = part(text(power), /(\S+ W) of (.*)/);
    const link = (cell) => text(cell).split(",")[0];
    const numbers = { share, used, total, busy: text(busy), temperature: text(temperature), power: drawn, limit };
    add(`gpu ${own(gpu)}`, { ...numbers, host_to_device: link(to), device_to_host: link(from) });
  }
  const table = document.querySelector("[data-rows]");
  const heads = [...table.querySelectorAll("thead th")].map((head) => own(head.querySelector("button")));
  const row = [...table.querySelectorAll("tbody tr")].find((row) => text(row.querySelector("a")) === name);
  const workload = [];
  [...(row?.children ?? [])].forEach((cell, index) => {
    const shown = heads[index] === "Of limit" ? own(cell) : text(cell);
    if (heads[index] === "Memory") {
      const [used, limit] = part(shown, /(.*) of (.*)/);
      workload.push(["Memory", used], ["Limit", limit]);
    } else if (index > 0 && heads[index] !== "Peak 5 min") workload.push([heads[index], shown]);
  });
  return { second: text(document.querySelector(".live .digits")), host: found, workload };
}
