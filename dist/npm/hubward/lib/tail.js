'use strict';

// Maximum length of the kept text, in characters.
const LIMIT = 8192;

/** Keeps the end of a stream. Reads the whole stream, so that the program never waits for a reader. */
class Tail {
  constructor(stream) {
    this.text = '';
    stream.setEncoding('utf8');
    stream.on('data', (text) => { this.text = (this.text + text).slice(-LIMIT); });
    stream.on('error', () => {});
  }
}

module.exports = { Tail };
