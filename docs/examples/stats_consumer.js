// Print the receive rate of every queue of a host, as stats_consumer.py does.
//
//     npm install
//     node stats_consumer.js URL 3        (URL: the first line of `vmqtui engine`; 3: readings, default: all)
"use strict";

const mqtt = require("mqtt");
const { decode } = require("@msgpack/msgpack");

const [url, readings] = process.argv.slice(2);
if (!url) {
  console.error("usage: node stats_consumer.js mqtt://user:password@host:port [READINGS]");
  process.exit(2);
}
let left = readings === undefined ? Infinity : Number(readings);
const before = new Map(); // the last reading of each host
const names = new Map(); // by host, then by adapter, queue id and generation

const client = mqtt.connect(url, { protocolVersion: 4 });
client.on("connect", () => client.subscribe({ "vmq/v1/+/config": { qos: 1 }, "vmq/v1/+/stats": { qos: 0 } }));
client.on("error", (error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});
client.on("message", (topic, payload) => {
  const [, , host, kind] = topic.split("/");
  // Counters and simulated time are exact up to 2^53, time_ns is not: pass useBigInt64 if you need it.
  const content = decode(payload);
  if (kind === "config") {
    const queues = content.adapters.flatMap((adapter) =>
      adapter.queues.map((queue) => [keyOf(adapter.name, queue.queue_id, queue.generation), queue.name]),
    );
    names.set(host, new Map(queues));
  } else if (content.schema === "vmq.stats/1" && left > 0) {
    printRates(host, content);
    if (left <= 0) client.end();
  }
});

function printRates(host, reading) {
  const last = before.get(host);
  before.set(host, reading);
  if (!last || reading.seq < last.seq) return; // the first one, or the engine is a new one
  const seconds = (reading.sim_time_ns - last.sim_time_ns) / 1e9;
  if (seconds === 0) return;
  const then = rows(last);
  for (const [key, row] of rows(reading)) {
    const rate = (column) => {
      const [now, before] = [row[column], then.has(key) ? then.get(key)[column] : 0];
      // A measured host may not know a counter: null, which is no 0.
      return now === null || before === null ? "–" : ((now - before) / seconds).toFixed(0);
    };
    const name = names.get(host)?.get(key) ?? `queue ${row.id}`;
    const frames = rate("received_frames");
    console.log(`${host} ${row.adapter} ${name}: ${frames} frames/s, ${rate("dropped_no_buffer")} dropped/s`);
  }
  left -= 1;
}

// Turn the columns of a reading into one row for each queue.
function rows(reading) {
  const found = new Map();
  for (const [adapter, { queues }] of Object.entries(reading.adapters)) {
    queues.id.forEach((id, place) => {
      const row = Object.fromEntries(Object.entries(queues).map(([column, values]) => [column, values[place]]));
      found.set(keyOf(adapter, id, row.generation), { ...row, adapter });
    });
  }
  return found;
}

// A queue that was freed and one that has its id now are two.
function keyOf(adapter, id, generation) {
  return `${adapter}/${id}/${generation}`;
}
