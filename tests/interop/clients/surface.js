// Records the results of the calls of an SDK, as surface.py does. A call has one of three results: it passes, the
// emulator refuses it because it does not support it, or the program cannot make it. The program fails if a public
// method has no result.
'use strict';

class Surface {
  constructor() {
    this.passed = new Set();
    this.refusals = new Map();
    this.impossible = new Map();
    this.watched = new Map();
  }

  // Returns the same object. From now on, its calls are recorded under this name.
  watch(name, target) {
    const isClass = typeof target === 'function';
    const owner = isClass ? target : Object.getPrototypeOf(target);
    const methods = Object.getOwnPropertyNames(owner).filter((it) => (
      !it.startsWith('_') && it !== 'constructor' && typeof owner[it] === 'function'));
    this.watched.set(name, new Set([...methods, ...(this.watched.get(name) ?? [])]));
    return new Proxy(target, {
      get: (from, method) => {
        const value = Reflect.get(from, method);
        if (!methods.includes(method)) return value;
        const call = (...args) => {
          const result = value.apply(from, args);
          if (!(result instanceof Promise)) {
            this.passed.add(`${name}.${method}`);
            return result;
          }
          return result.then((it) => {
            this.passed.add(`${name}.${method}`);
            return it;
          }, (error) => {
            error.message = `${name}.${method}: ${error.message}`;
            throw error;
          });
        };
        return Object.assign(call, { call: `${name}.${method}` });
      },
    });
  }

  // Makes a call that the emulator does not support, and records the reason `why`. The call must fail with an error
  // whose text matches the pattern.
  async refused(why, pattern, call, ...args) {
    await fails(pattern, call, ...args);
    this.refusals.set(call.call, why);
  }

  // Records calls that the program cannot make.
  cannotCall(why, ...calls) {
    for (const call of calls) this.impossible.set(call.call, why);
  }

  // Prints all results, one JSON object per line. Fails if a public method has no result.
  report() {
    const missing = [];
    for (const [name, methods] of this.watched) {
      for (const method of [...methods].sort()) {
        const call = `${name}.${method}`;
        let line;
        if (this.refusals.has(call)) line = { call, outcome: 'refused', why: this.refusals.get(call) };
        else if (this.passed.has(call)) line = { call, outcome: 'passes' };
        else if (this.impossible.has(call)) line = { call, outcome: 'cannot', why: this.impossible.get(call) };
        else missing.push(call);
        if (line) console.log(JSON.stringify(line));
      }
    }
    if (missing.length > 0) throw new Error(`no result of ${missing.join(', ')}`);
    console.log(JSON.stringify({ end: true }));
  }
}

// Makes a call with arguments that the service refuses. The call must fail with an error whose text matches the
// pattern.
async function fails(pattern, call, ...args) {
  let result;
  try {
    result = await call(...args);
  } catch (error) {
    const text = `${error.name} ${error.message} ${error.responseBody ?? ''}`;
    if (!pattern.test(text)) throw new Error(`${call.call} failed, but the error does not match ${pattern}: ${text}`);
    return error;
  }
  throw new Error(`${call.call} did not fail: ${JSON.stringify(plain(result))}`);
}

// Returns the data of a result. The SDK adds the HTTP response to the data, and this function removes it.
function plain(value) {
  return value?.responseBody ?? value?.result ?? value;
}

// Calls a function that takes a callback. Returns a promise of the result.
function called(run) {
  return new Promise((resolve, reject) => {
    run((error, result) => (error ? reject(error) : resolve(result)));
  });
}

// Runs a program. If it fails, prints the whole error. At the time limit, ends the program.
function run(main) {
  const limit = setTimeout(() => {
    console.error('the program reached its time limit');
    process.exit(75);
  }, Number(process.env.INTEROP_TIME_LIMIT) * 1000);
  main().then(
    () => {
      clearTimeout(limit);
      process.exit(0);
    },
    (error) => {
      console.error(error.message, error.stack, error.responseBody ?? '');
      process.exit(1);
    },
  );
}

module.exports = { Surface, called, fails, plain, run };
