// Copyright: (c) 2026, The reimage.lab authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";

// Shows the records that machine_state writes. Text of theirs only ever becomes text: never markup.
const records = new Map(); // file name -> {mtime, record}
const settled = ["registered", "done", "failed"];

async function json(address) {
  const response = await fetch(address, { cache: "no-cache" });
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return response.json();
}

async function refresh() {
  const files = (await json("machines/")).filter((file) => /^[0-9a-f-]{17}\.json$/.test(file.name));
  for (const name of records.keys()) {
    if (!files.some((file) => file.name === name)) records.delete(name);
  }
  // The listing has whole seconds only: what changed a moment ago is read again.
  const recent = Date.now() - 5000;
  const changed = files.filter(({ name, mtime }) => records.get(name)?.mtime !== mtime || Date.parse(mtime) > recent);
  await Promise.all(changed.map(async ({ name, mtime }) => {
    records.set(name, { mtime, record: await json(`machines/${name}`) });
  }));
}

function ago(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  const [size, unit] = units.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.max(0, Math.floor(seconds / size))} ${unit}`;
}

function row(record) {
  const last = record.history.at(-1);
  const since = last ? ago(Date.now() / 1000 - last.at) : "";
  const line = document.createElement("tr");
  line.className = settled.includes(record.state) ? record.state : "working";
  for (const text of [record.name, record.mac, record.state, since, record.image, record.reason || last?.note || ""]) {
    line.insertCell().textContent = text;
  }
  return line;
}

function show() {
  const all = [...records.values()].map((entry) => entry.record);
  all.sort((a, b) => (a.name || a.mac).localeCompare(b.name || b.mac, undefined, { numeric: true }));
  document.getElementById("machines").replaceChildren(...all.map(row));
  const count = (state) => all.filter((record) => record.state === state).length;
  document.getElementById("summary").textContent =
    `${all.length} in all, ${count("done")} done, ${count("failed")} failed`;
}

async function watch() {
  const trouble = document.getElementById("trouble");
  try {
    await refresh();
    show();
    trouble.textContent = "";
  } catch (error) {
    trouble.textContent = `The boot server cannot be read: ${error.message}`;
  }
  setTimeout(watch, 2000);
}

watch();
