'use strict';

// Runs a client program. The exit code is 1 if `main` fails, and 75 if the program reaches its time limit. After
// `main`, the program must end by itself. If the SDK keeps the program running, the test fails.
module.exports = function run(main) {
  const limit = setTimeout(() => {
    console.error('the program reached its time limit');
    process.exit(75);
  }, Number(process.env.INTEROP_TIME_LIMIT) * 1000);
  main(process.env)
    .catch((error) => {
      console.error(`${error.name}: ${error.message}`);
      process.exitCode = 1;
    })
    .finally(() => limit.unref());
};
