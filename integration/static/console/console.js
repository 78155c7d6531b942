"use strict";
// Regions that keep themselves fresh. A region is an element with data-live (the address of its content) inside
// [data-live-box], with a pause button and a status line. Without this script a reload does the same.
(() => {
  const EVERY_MS = 3000;
  const SLOW_MS = 15000;
  const LOG_MS = 1000;
  const LOG_CHARS = 1000000;

  class Live {
    constructor(region) {
      this.region = region;
      this.box = region.closest("[data-live-box]") || region;
      this.button = this.box.querySelector("[data-live-pause]");
      this.status = this.box.querySelector("[data-live-status]");
      this.clock = this.box.querySelector("[data-live-clock]");
      this.shown = null;
      this.isPaused = false;
      this.timer = 0;
      if (this.button) {
        this.button.hidden = false;
        this.button.addEventListener("click", () => this.toggle());
      }
      document.addEventListener("visibilitychange", () => this.plan(0));
      this.announced = this.summary();
      this.plan(EVERY_MS);
    }

    summary() {
      const told = this.region.querySelector("[data-summary]");
      return told ? told.dataset.summary : "";
    }

    isEnded() {
      return Boolean(this.region.querySelector("[data-ended]"));
    }

    toggle() {
      this.isPaused = !this.isPaused;
      this.button.setAttribute("aria-pressed", String(this.isPaused));
      this.button.textContent = this.isPaused ? "Go on refreshing" : "Pause refreshing";
      this.plan(0);
    }

    plan(delay) {
      window.clearTimeout(this.timer);
      if (this.isEnded()) {
        if (this.button) this.button.hidden = true;
        return;
      }
      if (!this.isPaused && !document.hidden) {
        this.timer = window.setTimeout(() => this.refresh(), delay);
      }
    }

    async refresh() {
      let wait = EVERY_MS;
      try {
        const answer = await fetch(this.region.dataset.live, {
          headers: { "X-Requested-With": "fetch" },
          credentials: "same-origin",
          redirect: "error",
        });
        if (!answer.ok) throw new Error(String(answer.status));
        this.show(await answer.text());
        this.tell("");
      } catch {
        wait = SLOW_MS;
        this.tell("No answer from the server: trying again");
      }
      this.plan(wait);
    }

    show(html) {
      if (this.clock) this.clock.textContent = "Updated " + new Date().toISOString().slice(11, 19) + " UTC";
      if (html === this.shown || this.isSelected()) return;
      const open = new Set([...this.region.querySelectorAll("details[open][id]")].map((item) => item.id));
      const active = this.region.contains(document.activeElement) ? document.activeElement : null;
      const mark = active && (active.id ? ["id", active.id] : ["href", active.getAttribute("href")]);
      this.region.innerHTML = html; // drawn and escaped by our own server; the policy lets nothing in it run
      this.shown = html;
      for (const item of this.region.querySelectorAll("details[id]")) {
        if (open.has(item.id)) item.open = true;
      }
      if (mark && mark[1]) {
        const again = this.region.querySelector(`[${mark[0]}="${CSS.escape(mark[1])}"]`);
        if (again) again.focus({ preventScroll: true });
      }
      const said = this.summary();
      if (said !== this.announced) {
        this.announced = said;
        if (this.status) this.status.textContent = said;
      }
    }

    isSelected() {
      const selection = document.getSelection();
      return Boolean(selection && !selection.isCollapsed && this.region.contains(selection.anchorNode));
    }

    tell(text) {
      const line = this.box.querySelector("[data-live-trouble]");
      if (line && line.textContent !== text) line.textContent = text;
    }
  }

  for (const region of document.querySelectorAll("[data-live]")) new Live(region);

  // A log that is still written: what follows is fetched by its place in the file and added at the end.
  class Log {
    constructor(box) {
      this.box = box;
      this.offset = Number(box.dataset.logOffset);
      this.follow = document.querySelector("[data-log-follow]");
      this.state = document.querySelector("[data-log-state]");
      this.follow.addEventListener("change", () => this.plan(0));
      document.addEventListener("visibilitychange", () => this.plan(0));
      box.scrollTop = box.scrollHeight;
      this.plan(LOG_MS);
    }

    plan(delay) {
      window.clearTimeout(this.timer);
      if (!this.hasEnded && this.follow.checked && !document.hidden) {
        this.timer = window.setTimeout(() => this.read(), delay);
      }
    }

    async read() {
      let wait = LOG_MS;
      try {
        const answer = await fetch(`${this.box.dataset.log}?offset=${this.offset}`, {
          credentials: "same-origin",
          redirect: "error",
        });
        if (!answer.ok) throw new Error(String(answer.status));
        const part = await answer.json();
        this.add(part);
        if (part.next_offset < part.size_bytes && part.html) wait = 0;
      } catch {
        wait = SLOW_MS;
      }
      this.plan(wait);
    }

    add(part) {
      if (part.restarted) this.box.replaceChildren();
      this.offset = part.next_offset;
      if (part.html) {
        const piece = document.createElement("span");
        piece.innerHTML = part.html; // escaped by our own server, as the page's first piece was
        this.box.append(piece);
        while (this.box.textContent.length > LOG_CHARS && this.box.childNodes.length > 1) {
          this.box.firstChild.remove();
        }
        this.box.scrollTop = this.box.scrollHeight;
      }
      if (part.ended) {
        this.hasEnded = true;
        this.state.textContent = "The gate has ended";
      }
    }
  }

  for (const box of document.querySelectorAll("[data-log]")) new Log(box);

  // Filters of a list take effect as soon as one is chosen; the button beside them does it without this script.
  for (const field of document.querySelectorAll("select[data-submits]")) {
    field.addEventListener("change", () => field.form.requestSubmit());
  }
})();
