// What changes, as it happens. All tabs of a browser share one connection: the
// tab that holds the lock listens and tells the others. Where events cannot be
// had, the tab asks every few seconds instead.

import {get, question} from './api.js';

const SILENCE_MAX_MS = 15000;
const POLL_MS = 5000;
const RETRY_MS = 3000;
const STREAM_AGAIN_MS = 60000;
const CHANNEL = 'tillstream.live';

/// Tells `on({kind, data})`: `summary`, `progress`, `trouble`, `over`, `lost`.
/// @returns a function that ends it.
export function listen(on) {
  const ending = new AbortController();
  const {signal} = ending;
  const channel =
    'BroadcastChannel' in window ? new BroadcastChannel(CHANNEL) : null;
  let last = null;
  let leads = false;

  const tell = (event) => {
    if (signal.aborted) return;
    if (event.kind === 'summary') last = event;
    on(event);
    if (leads) channel?.postMessage(event);
  };

  if (channel)
    channel.onmessage = ({data}) => {
      if (data.kind !== 'hello') tell(data);
      else if (leads && last) channel.postMessage(last);
    };

  const lead = () =>
    new Promise((release) => {
      if (signal.aborted) return release();
      leads = true;
      const stop = stream(tell, signal);
      signal.addEventListener('abort', () => {
        stop();
        release();
      });
    });

  if (channel && navigator.locks) {
    channel.postMessage({kind: 'hello'});
    navigator.locks.request(CHANNEL, {signal}, lead).catch(() => {});
  } else {
    lead();
  }

  return () => {
    ending.abort();
    channel?.close();
  };
}

/// Listens, and comes back however the connection ends.
function stream(tell, signal) {
  let source = null;
  let timer = 0;
  let silence = 0;

  const later = (f, ms) => {
    clearTimeout(timer);
    timer = setTimeout(f, ms);
  };

  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => {
      tell({kind: 'lost'});
      connect();
    }, SILENCE_MAX_MS);
  };

  const close = () => {
    source?.close();
    source = null;
    clearTimeout(silence);
  };

  const connect = () => {
    close();
    if (signal.aborted) return;
    source = new EventSource(question('live'));
    heard();
    for (const kind of ['summary', 'progress', 'trouble', 'over'])
      source.addEventListener(kind, (event) => {
        heard();
        tell({kind, data: JSON.parse(event.data)});
        if (kind === 'over') close();
      });
    source.onerror = () => {
      // Refused, not just cut: the browser does not come back by itself.
      if (source?.readyState === EventSource.CLOSED) {
        close();
        poll(Date.now() + STREAM_AGAIN_MS);
      } else {
        tell({kind: 'lost'});
      }
    };
  };

  const poll = async (until) => {
    if (signal.aborted) return;
    try {
      tell({kind: 'summary', data: await get(question('summary')), polled: true});
    } catch (error) {
      tell({kind: error.signedOut ? 'over' : error.status ? 'trouble' : 'lost'});
      if (error.signedOut) return;
      if (!error.status) {
        later(connect, RETRY_MS); // Nobody there: nothing to be polite to.
        return;
      }
    }
    later(Date.now() < until ? () => poll(until) : connect, POLL_MS);
  };

  // A page that comes back from the cache has a dead connection.
  const shown = (event) => event.persisted && connect();
  addEventListener('pageshow', shown);
  addEventListener('online', connect);
  connect();
  return () => {
    close();
    clearTimeout(timer);
    removeEventListener('pageshow', shown);
    removeEventListener('online', connect);
  };
}
