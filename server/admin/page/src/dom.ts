// Making and changing elements. Text goes in as text alone: nothing of an answer is ever read as markup.

export type Child = Node | string;
export type Attributes = Record<string, string | number | boolean | undefined>;

const SVG = 'http://www.w3.org/2000/svg';

function fill<E extends Element>(e: E, attributes: Attributes, children: Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    e.setAttribute(name, value === true ? '' : String(value));
  }
  e.append(...children);
  return e;
}

export function el<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), attributes, children);
}

export function svg<K extends keyof SVGElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): SVGElementTagNameMap[K] {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// say sets a text if it is another: what does not change stays selected, and is not read out again.
export function say(e: Element, text: string): void {
  if (e.textContent !== text) e.textContent = text;
}

export function set(e: Element, name: string, value: string): void {
  if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}

const shown = new WeakMap<Element, string>();

// renew makes an element's children anew when what they show has changed.
export function renew(e: Element, model: unknown, make: () => Child[]): void {
  const key = JSON.stringify(model);
  if (shown.get(e) === key) return;
  shown.set(e, key);
  e.replaceChildren(...make());
}

export interface Column<Row> {
  head: string;
  text: (row: Row) => string;
  kind?: 'number' | 'name' | 'wide'; // name: the row's header
}

// Table shows rows, and changes the cells that differ.
export class Table<Row> {
  readonly element: HTMLElement;
  private readonly body = el('tbody');
  private readonly none: HTMLElement;

  constructor(
    caption: string,
    private readonly columns: Column<Row>[],
    empty: string,
  ) {
    const heads = columns.map((c) => el('th', { scope: 'col', class: c.kind }, c.head));
    const table = el('table', {}, el('caption', { class: 'unseen' }, caption), el('thead', {}, el('tr', {}, ...heads)), this.body);
    this.none = el('p', { class: 'none' }, empty);
    // What is wider than the screen scrolls by itself, with the keyboard too.
    this.element = el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption }, table, this.none);
  }

  show(rows: Row[]): void {
    this.none.hidden = rows.length > 0;
    (this.element.firstElementChild as HTMLElement).hidden = rows.length === 0;
    while (this.body.rows.length > rows.length) this.body.deleteRow(-1);
    rows.forEach((row, i) => {
      const line = this.body.rows[i] ?? this.body.appendChild(this.line());
      this.columns.forEach((c, j) => {
        const cell = line.cells[j];
        if (cell) say(cell, c.text(row));
      });
    });
  }

  private line(): HTMLTableRowElement {
    const cells = this.columns.map((c) => (c.kind === 'name' ? el('th', { scope: 'row' }) : el('td', { class: c.kind })));
    return el('tr', {}, ...cells);
  }
}
