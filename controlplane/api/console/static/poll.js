// Looks again and again, and not while nobody sees the page.

export class Poll {
  #busy = false;
  #timer;

  // `look` resolves to the milliseconds until the next one; null: only when asked again.
  constructor(look, { hidden = () => document.hidden, later = setTimeout, forget = clearTimeout } = {}) {
    this.look = look;
    this.hidden = hidden;
    this.later = (...what) => later(...what);
    this.forget = (timer) => forget(timer);
  }

  // Looks at once, unless a look is under way or nobody sees it.
  async now() {
    if (this.#busy || this.hidden()) return;
    this.forget(this.#timer);
    this.#busy = true;
    let pause_ms;
    try {
      pause_ms = await this.look();
    } finally {
      this.#busy = false;
    }
    if (pause_ms !== null && !this.hidden()) this.#timer = this.later(() => this.now(), pause_ms);
  }
}
