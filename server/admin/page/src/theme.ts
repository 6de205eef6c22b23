// Light or dark: as the system has it, unless chosen here. The choice is kept in this browser alone.

import { el, say } from './dom.ts';
import { capital } from './format.ts';

const THEMES = ['auto', 'light', 'dark'] as const;
type Theme = (typeof THEMES)[number];
const KEY = 'domicile-theme';

function kept(): Theme {
  try {
    return THEMES.find((t) => t === localStorage.getItem(KEY)) ?? 'auto';
  } catch {
    return 'auto'; // storage is refused; the choice lasts as long as the page
  }
}

function keep(theme: Theme): void {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // as above
  }
}

// button makes the button that goes through the themes. changed is told after each change of colours, the
// system's own too.
export function button(changed: () => void): HTMLButtonElement {
  let theme = kept();
  const b = el('button', { type: 'button', class: 'theme' });
  const apply = (): void => {
    document.documentElement.dataset.theme = theme;
    say(b, `Theme: ${capital(theme)}`);
    changed();
  };
  b.addEventListener('click', () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'auto';
    keep(theme);
    apply();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', changed);
  apply();
  return b;
}
