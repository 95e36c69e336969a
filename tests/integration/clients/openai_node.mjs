// OpenAI's client for Node.

import OpenAI from "openai";
import {
  ABOUT, BASE_URL, CALLS, CHAT_MODEL, EMBEDDING_MODEL, HELLO, KEY, OSLO, PARIS, PROSE, SCHEMA, TEXTS, run, said, same,
} from "./cells.mjs";

const client = new OpenAI({ baseURL: BASE_URL, apiKey: KEY, maxRetries: 0 });
const asked = { model: CHAT_MODEL, messages: [{ role: "user", content: HELLO }] };
const functions = Object.entries(ABOUT).map(([name, description]) => ({ name, description, parameters: SCHEMA }));
const calls = (message) => message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);

async function stream() {
  const chunks = [];
  const options = { stream: true, stream_options: { include_usage: true } };
  for await (const chunk of await client.chat.completions.create({ ...asked, ...options })) chunks.push(chunk);
  said(chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join(""));
  same(chunks.at(-1).choices, []);
  same(chunks.at(-1).usage.completion_tokens > 0, true);
}

function tools([content, wanted, expected]) {
  return async () => {
    const body = {
      model: CHAT_MODEL,
      messages: [{ role: "user", content }],
      tools: functions.map((each) => ({ type: "function", function: each })),
      tool_choice: wanted in ABOUT ? { type: "function", function: { name: wanted } } : wanted,
      parallel_tool_calls: expected.length > 1,
    };
    same(calls((await client.chat.completions.create(body)).choices[0].message), expected);
    same(calls((await client.chat.completions.stream(body).finalChatCompletion()).choices[0].message), expected);
  };
}

async function jsonSchema() {
  const form = { type: "json_schema", json_schema: { name: "place", strict: true, schema: SCHEMA } };
  const answer = await client.chat.completions.parse({ ...asked, response_format: form });
  same(answer.choices[0].message.parsed ?? JSON.parse(answer.choices[0].message.content), PARIS);
}

async function logprobs() {
  const answer = await client.chat.completions.create({ ...asked, logprobs: true, top_logprobs: 2 });
  same(answer.choices[0].logprobs.content[0].top_logprobs.length, 2);
}

async function several() {
  const answer = await client.chat.completions.create({ ...asked, n: 2 });
  same(answer.choices.map((one) => one.message.content.trim()), [PROSE, PROSE]);
}

async function embeddings() {
  for (const more of [{}, { encoding_format: "float" }]) {
    const answer = await client.embeddings.create({ model: EMBEDDING_MODEL, input: TEXTS, ...more });
    same(answer.data.map((entry) => entry.embedding.length), [256, 256]);
  }
}

async function responses() {
  said((await client.responses.create({ model: CHAT_MODEL, input: HELLO, store: false })).output_text);
  said((await client.responses.stream({ model: CHAT_MODEL, input: HELLO }).finalResponse()).output_text);
  const flat = functions.map((each) => ({ type: "function", strict: true, ...each }));
  const answer = await client.responses.create({ model: CHAT_MODEL, input: CALLS["tools auto"][0], tools: flat });
  const found = answer.output.filter((item) => item.type === "function_call");
  same(found.map((item) => JSON.parse(item.arguments)), [OSLO]);
}

await run({
  chat: async () => said((await client.chat.completions.create(asked)).choices[0].message.content),
  stream,
  ...Object.fromEntries(Object.entries(CALLS).map(([ability, call]) => [ability, tools(call)])),
  json_schema: jsonSchema,
  logprobs,
  n: several,
  embeddings,
  responses,
});
