// The way in: a one-time link, or the owner's key.

import {signIn} from './api.js';
import {$, h} from './dom.js';

const LINK = /^#link=(tsl_[\w-]{20,100})$/;

/// Uses the link up that the page was opened with, if it was.
/// @returns what is wrong with it, or nothing.
export async function useLink() {
  const found = LINK.exec(location.hash);
  if (!found) return null;
  // Out of the address bar and the history at once.
  history.replaceState(null, '', location.pathname + location.search);
  try {
    await signIn({link: found[1]});
    return null;
  } catch (error) {
    return messageOf(
      error,
      'This link was used already, or is older than an hour. Sign in with the owner’s key, or make another link: tillstream key link',
    );
  }
}

function messageOf(error, unknown) {
  switch (error.status) {
    case 401:
      return unknown;
    case 403:
      return 'This key may not see the page. It is for the owner; a till’s key only records sales.';
    case 429:
      return `Too many wrong keys. Try again in ${error.retryAfter || 'a few'} seconds.`;
    case 0:
      return 'No answer from the node. Is it running?';
    default:
      return `The node cannot sign anybody in at the moment. ${error.message}`;
  }
}

/// Shows the door. Calls `entered` once somebody is in.
export function showDoor(entered, message) {
  const wrong = h('p', {class: 'wrong', id: 'wrong', role: 'alert'}, message ?? '');
  const key = h('input', {
    type: 'password',
    id: 'key',
    name: 'key',
    required: true,
    autocomplete: 'current-password',
    spellcheck: 'false',
    'aria-describedby': 'wrong',
    placeholder: 'tsk_owner_…',
  });
  const button = h('button', {type: 'submit', class: 'primary'}, 'Sign in');
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    wrong.textContent = '';
    try {
      await signIn({key: key.value.trim()});
      key.value = '';
      entered();
    } catch (error) {
      wrong.textContent = messageOf(
        error,
        'This key is not known, or was revoked.',
      );
      key.select();
    } finally {
      button.disabled = false;
    }
  };
  const sign = document.querySelector('.brand svg').cloneNode(true);
  sign.setAttribute('width', 40);
  sign.setAttribute('height', 40);
  $('door').replaceChildren(
    h(
      'form',
      {class: 'card', onsubmit: submit},
      sign,
      h('h2', null, 'Tillstream'),
      h('p', {class: 'lead'}, 'The page of the owner.'),
      h('label', {for: 'key'}, 'Owner’s key'),
      key,
      wrong,
      button,
      h(
        'p',
        {class: 'fine'},
        'The key stands in ',
        h('code', null, 'endpoints.json'),
        ' of the data directory. ',
        h('code', null, 'tillstream up'),
        ' and ',
        h('code', null, 'tillstream key link'),
        ' print a link that signs in once.',
      ),
    ),
  );
  document.body.dataset.view = 'door';
  key.focus();
}
