// Requests to the server; writes go one after the other.

export class Refused extends Error {
  constructor(message, answer) {
    super(message);
    this.answer = answer;
  }
}

async function read(response) {
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const said = Array.isArray(answer.detail) ? answer.detail[0]?.msg : answer.error;
  throw new Refused(said || t("the server says {status}", { status: response.status }), answer);
}

export async function get(path) {
  return read(await fetch(path, { credentials: "same-origin" }));
}

let queue = Promise.resolve();

// `make` gives the body when its turn has come, so that it names what is known then.
export function post(path, make) {
  const turn = queue.then(async () => {
    const response = await fetch(path, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(make()),
    });
    return read(response);
  });
  queue = turn.catch(() => {});
  return turn;
}

// Calls back with the number of the last decision whenever it changes, and with the state of the line.
// `line` takes true, false where the server does not answer, and null where it knows this tab no more: the
// token is new with every start, and the tab asks again until its browser has opened the new address.
export function listen(news, line) {
  const source = new EventSource("/api/events");
  source.onmessage = (event) => news(Number(event.data));
  source.onopen = () => line(true);
  source.onerror = () => {
    const refused = source.readyState === EventSource.CLOSED;
    line(refused ? null : false);
    if (refused) setTimeout(() => listen(news, line), 3000);
  };
}
