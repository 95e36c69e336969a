// What cells.py says, for Node.

export const { BASE_URL, SLIPWAY_KEY: KEY, CHAT_MODEL, EMBEDDING_MODEL } = process.env;

export const HELLO = "Where is the ship?";
export const PROSE = "The ship is in the harbour.";
export const [PARIS, OSLO, ROME] = ["Paris", "Oslo", "Rome"].map((city) => ({ city }));
export const SCHEMA = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
export const TEXTS = ["the ship is in the harbour", "a tree"];
export const ABOUT = { weather: "Tells the weather of a city.", clock: "Tells the time in a city." };
// By ability: what the user says, the choice of a tool (a name is that tool), and the calls that come back.
export const CALLS = {
  "tools auto": ["How is the weather?", "auto", [["weather", OSLO]]],
  "tools required": [HELLO, "required", [["weather", ROME]]],
  "tools named": [HELLO, "clock", [["clock", ROME]]],
  "tools parallel": ["How is the weather in both cities?", "auto", [["weather", OSLO], ["weather", ROME]]],
};

export function same(found, wanted) {
  const [one, other] = [found, wanted].map((value) => JSON.stringify(value));
  if (one !== other) throw new Error(`${one} in place of ${other}`.slice(0, 300));
}

export const said = (text) => same((text ?? "").trim(), PROSE);

export async function run(cells) {
  for (const [ability, ask] of Object.entries(cells)) {
    let detail = "";
    try {
      await ask();
    } catch (error) {
      detail = String(error?.stack ?? error).slice(0, 600);
    }
    console.log(JSON.stringify({ ability, ok: !detail, detail }));
  }
}
