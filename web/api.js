// Talks to the node that served this page, and to nobody else.

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

/// What early.js asked for, once.
async function early(path) {
  const answer = await window.earlyAnswers?.get(path);
  window.earlyAnswers?.delete(path);
  return answer;
}

async function send(path, options) {
  let response;
  try {
    response =
      (await early(path)) ??
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
