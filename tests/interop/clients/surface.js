// Keeps the books about an SDK's surface, as surface.py does: which calls passed, which were refused,
// which cannot be. A public method that nobody looked at is a failure.
'use strict';

class Surface {
  constructor() {
    this.passed = new Set();
    this.refusals = new Map();
    this.impossible = new Map();
    this.watched = new Map();
  }

  // The same object, whose calls are counted under this name.
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

  // A call that the emulator answers with an error, which must contain these words.
  async refused(why, says, call, ...args) {
    await fails(says, call, ...args);
    this.refusals.set(call.call, why);
  }

  // Calls that cannot be made at all.
  cannot(why, ...calls) {
    for (const call of calls) this.impossible.set(call.call, why);
  }

  // Says everything, one JSON object a line; fails if a call is missing.
  report() {
    const forgotten = [];
    for (const [name, methods] of this.watched) {
      for (const method of [...methods].sort()) {
        const call = `${name}.${method}`;
        let line;
        if (this.refusals.has(call)) line = { call, outcome: 'refused', why: this.refusals.get(call) };
        else if (this.passed.has(call)) line = { call, outcome: 'passes' };
        else if (this.impossible.has(call)) line = { call, outcome: 'cannot', why: this.impossible.get(call) };
        else forgotten.push(call);
        if (line) console.log(JSON.stringify(line));
      }
    }
    if (forgotten.length > 0) throw new Error(`nobody looked at ${forgotten.join(', ')}`);
    console.log(JSON.stringify({ end: true }));
  }
}

// A call that works, with something that is wrong; the error must match.
async function fails(says, call, ...args) {
  let result;
  try {
    result = await call(...args);
  } catch (error) {
    const text = `${error.name} ${error.message} ${error.responseBody ?? ''}`;
    if (!says.test(text)) throw new Error(`${call.call} failed, but not with ${says}: ${text}`);
    return error;
  }
  throw new Error(`${call.call} did not fail: ${JSON.stringify(plain(result))}`);
}

// Without what is no data, such as the HTTP response that comes with a result.
function plain(value) {
  return value?.responseBody ?? value?.result ?? value;
}

// A way through what takes a callback at its end.
function called(run) {
  return new Promise((resolve, reject) => {
    run((error, result) => (error ? reject(error) : resolve(result)));
  });
}

// Runs a program: its failure is said in full, and so is a hang.
function run(main) {
  const limit = Number(process.env.INTEROP_TIME_LIMIT) * 1000;
  const hang = setTimeout(() => {
    console.error('Timeout: the program hangs');
    process.exit(75);
  }, limit);
  main().then(
    () => {
      clearTimeout(hang);
      process.exit(0);
    },
    (error) => {
      console.error(error.message, error.stack, error.responseBody ?? '');
      process.exit(1);
    },
  );
}

module.exports = { Surface, called, fails, plain, run };
