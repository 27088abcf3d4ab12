// graphile-worker with its fastest settings: `node graphile.mjs URL COUNT`. Prints @{"seconds": …} when COUNT are done.
import { createRequire } from "node:module";
const require = createRequire(process.env.GRAPHILE_HOME + "/package.json");
const { run, Logger } = require("graphile-worker");

const [url, count] = [process.argv[2], Number(process.argv[3])];
let done = 0;
let started;
let finish;
const finished = new Promise((resolve) => { finish = resolve; });
const silent = new Logger(() => () => {});
const runner = await run({
  preset: {
    worker: {
      connectionString: url,
      concurrentJobs: 24,
      pollInterval: 100,
      maxPoolSize: 10,
      localQueue: { size: 500 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    },
  },
  logger: silent,
  noHandleSignals: true,
  taskList: {
    noop: () => {
      started ??= performance.now();
      if (++done === count) finish();
    },
  },
});
await finished;
await runner.stop();  // the last completions are written
console.log("@" + JSON.stringify({ seconds: (performance.now() - started) / 1000, handled: done }));
process.exit(0);
