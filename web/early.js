// What cannot wait for the rest: colours, before the first paint, so that nobody
// sees the others flash; and the first questions of somebody who is signed in.
'use strict';
{
  const kept = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null; // Storage is switched off: the page does without.
    }
  };
  const theme = kept('tillstream.theme');
  if (theme === 'light' || theme === 'dark')
    document.documentElement.dataset.theme = theme;
  if (kept('tillstream.signed-in') === 'yes' && !location.hash)
    window.earlyAnswers = new Map(
      ['/analytics/summary', '/branches'].map((path) => [
        path,
        fetch(path, {cache: 'no-store'}).catch(() => null),
      ]),
    );
}
