// A strict parser for JSON that a user types. Each error has a position. This file also creates and applies merge
// patches.

/** An error and its position. `offset` counts from 0. `line` and `column` count from 1. */
export class JsonError extends Error {
  constructor(text, offset, message) {
    const before = text.slice(0, offset).split("\n");
    const line = before.length;
    const column = before[before.length - 1].length + 1;
    super(`${message}, line ${line}, column ${column}`);
    Object.assign(this, { offset, line, column });
  }
}

/** Reads an object. Throws a JsonError. */
export function parseObject(text) {
  const value = parse(text);
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new JsonError(text, text.search(/\S|$/), "this must be an object, { … }");
  }
  return value;
}

/** Parses a JSON value. Throws a JsonError if the text is not valid, or if a name occurs twice in an object. */
export function parse(text) {
  let at = 0;
  const fail = (message, offset = at) => {
    throw new JsonError(text, offset, message);
  };
  const space = () => {
    while (at < text.length && " \t\n\r".includes(text[at])) at += 1;
  };
  const seen = () => (at < text.length ? `“${text[at]}”` : "the end");

  function value() {
    space();
    if (text[at] === "{") return object();
    if (text[at] === "[") return array();
    if (text[at] === '"') return string();
    const word = /^-?[A-Za-z0-9.+-]+/.exec(text.slice(at, at + 400))?.[0];
    if (!word) fail(`a value is missing before ${seen()}`);
    try {
      const read = JSON.parse(word);
      at += word.length;
      return read;
    } catch {
      return fail(`“${word.slice(0, 30)}” is not a JSON value; write texts in double quotes`);
    }
  }

  function string() {
    const start = at;
    at += 1;
    while (text[at] !== '"') {
      if (at >= text.length || text[at] === "\n") fail("this text has no closing quote", start);
      at += text[at] === "\\" ? 2 : 1;
    }
    at += 1;
    try {
      return JSON.parse(text.slice(start, at));
    } catch {
      return fail("this text has a wrong escape or a control character", start);
    }
  }

  function object() {
    const read = {};
    at += 1;
    space();
    if (text[at] === "}") return (at += 1), read;
    for (;;) {
      space();
      if (text[at] !== '"') fail(`a name in double quotes is missing before ${seen()}`);
      const start = at;
      const name = string();
      if (Object.hasOwn(read, name)) fail(`the name “${name}” occurs twice`, start);
      space();
      if (text[at] !== ":") fail(`a colon is missing before ${seen()}`);
      at += 1;
      Object.defineProperty(read, name, { value: value(), enumerable: true, writable: true, configurable: true });
      space();
      if (text[at] === "}") return (at += 1), read;
      if (text[at] !== ",") fail(`a comma or } is missing before ${seen()}`);
      at += 1;
    }
  }

  function array() {
    const read = [];
    at += 1;
    space();
    if (text[at] === "]") return (at += 1), read;
    for (;;) {
      read.push(value());
      space();
      if (text[at] === "]") return (at += 1), read;
      if (text[at] !== ",") fail(`a comma or ] is missing before ${seen()}`);
      at += 1;
    }
  }

  const read = value();
  space();
  if (at < text.length) fail(`${seen()} follows the end of the value`);
  return read;
}

/**
 * Returns the merge patch that changes `from` into `to`. Removed members are null. If both are equal, the patch is
 * empty.
 */
export function patch(from, to) {
  const changes = {};
  for (const name of Object.keys(from)) {
    if (!Object.hasOwn(to, name)) changes[name] = null;
  }
  for (const [name, wanted] of Object.entries(to)) {
    const present = Object.hasOwn(from, name) ? from[name] : undefined;
    if (isObject(present) && isObject(wanted)) {
      const inner = patch(present, wanted);
      if (Object.keys(inner).length > 0) changes[name] = inner;
    } else if (JSON.stringify(present) !== JSON.stringify(wanted)) {
      changes[name] = wanted;
    }
  }
  return changes;
}

/** Applies a patch to a value. */
export function patched(value, changes) {
  if (!isObject(changes)) return changes;
  const made = isObject(value) ? { ...value } : {};
  for (const [name, change] of Object.entries(changes)) {
    if (change === null) delete made[name];
    else made[name] = patched(made[name], change);
  }
  return made;
}

/** Whether two patches change the same member. */
export function collide(one, other) {
  return Object.keys(one).some((name) =>
    Object.hasOwn(other, name) && (!isObject(one[name]) || !isObject(other[name]) || collide(one[name], other[name])));
}

const isObject = (it) => it !== null && typeof it === "object" && !Array.isArray(it);
