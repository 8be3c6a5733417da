// Copyright: (c) 2026, The reimage.lab authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";

// Shows the records that machine_state writes. Text of theirs only ever becomes text: never markup.
const records = new Map(); // file name -> {version, record}
const settled = ["registered", "done", "failed"];

async function json(address) {
  const response = await fetch(address, { cache: "no-cache" });
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return response.json();
}

async function refresh() {
  const files = await json("machines/"); // {file name: version}
  for (const name of records.keys()) {
    if (!(name in files)) records.delete(name);
  }
  const changed = Object.entries(files).filter(([name, version]) => records.get(name)?.version !== version);
  await Promise.all(changed.map(async ([name, version]) => {
    records.set(name, { version, record: await json(`machines/${encodeURIComponent(name)}`) });
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
