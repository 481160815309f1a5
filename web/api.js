// Talks to the node that served this page, and to nobody else. The page loads it
// before the other modules, as it does what cannot wait for them: the colours, so
// that nobody sees the others flash, and the first questions of somebody who is
// signed in.

export class ApiError extends Error {
  constructor(status, problem, retryAfter) {
    super(problem?.detail ?? (status ? `HTTP ${status}` : 'no connection'));
    this.status = status;
    this.retryAfter = retryAfter;
  }
  get signedOut() {
    return this.status === 401;
  }
}

const ANSWER_MAX_MS = 20000;

/// What the browser keeps for the page, by name.
export const kept = {
  get(name) {
    try {
      return localStorage.getItem(`tillstream.${name}`);
    } catch {
      return null; // Storage is switched off: the page does without.
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`tillstream.${name}`, value);
    } catch {
      // Then for this visit only.
    }
  },
};

const theme = kept.get('theme');
if (theme === 'light' || theme === 'dark')
  document.documentElement.dataset.theme = theme;

/// Whether somebody signed in here before: then the numbers are asked for at
/// once, else who calls.
export const wasSignedIn = () => kept.get('signed-in') === 'yes';

/// Asked before anybody wants to know, and handed out once.
const early = new Map();
if (wasSignedIn() && !location.hash)
  for (const path of ['/analytics/summary', '/branches'])
    early.set(
      path,
      fetch(path, {cache: 'no-store'}).catch(() => null),
    );

// The first formatters of a page take the browser tens of milliseconds, whichever
// they are: it has them while the answers are on their way.
if (early.size) {
  new Intl.NumberFormat(navigator.languages, {style: 'currency', currency: 'USD'});
  new Intl.DateTimeFormat(navigator.languages, {weekday: 'long'});
}

async function earlyAnswer(path) {
  const answer = await early.get(path);
  early.delete(path);
  return answer;
}

async function send(path, options) {
  let response;
  try {
    response =
      (await earlyAnswer(path)) ??
      (await fetch(path, {
        cache: 'no-store',
        credentials: 'same-origin',
        signal: AbortSignal.timeout(ANSWER_MAX_MS),
        ...options,
      }));
  } catch {
    throw new ApiError(0);
  }
  if (response.ok) return response.status === 204 ? null : response.json();
  const problem = await response.json().catch(() => null);
  throw new ApiError(
    response.status,
    problem,
    Number(response.headers.get('retry-after')) || 0,
  );
}

export const get = (path) => send(path);

export const signIn = (credentials) =>
  send('/session', {
    method: 'POST',
    headers: {'content-type': 'application/json'},
    body: JSON.stringify(credentials),
  });

export const signOut = () => send('/session', {method: 'DELETE'});

/// The path of a question.
export function question(name, parameters) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters ?? {}))
    if (value !== undefined) query.set(key, value);
  const text = query.toString();
  return `/analytics/${name}${text ? `?${text}` : ''}`;
}
