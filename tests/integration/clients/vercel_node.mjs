// Vercel's AI SDK: its provider for servers that are like OpenAI's, and for responses and log probabilities OpenAI's own.

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, embedMany, generateText, isStepCount, jsonSchema, streamText, tool } from "ai";
import {
  ABOUT, BASE_URL, CALLS, CHAT_MODEL, EMBEDDING_MODEL, HELLO, KEY, PARIS, SCHEMA, TEXTS, run, said, same,
} from "./cells.mjs";

const like = { name: "slipway", baseURL: BASE_URL, apiKey: KEY, includeUsage: true, supportsStructuredOutputs: true };
const provider = createOpenAICompatible(like);
const openai = createOpenAI({ baseURL: BASE_URL, apiKey: KEY });
const asked = { model: provider(CHAT_MODEL), prompt: HELLO, maxRetries: 0 };
const fails = { onError: ({ error }) => { throw error; } };
const described = Object.entries(ABOUT).map(([name, description]) => [
  name, tool({ description, inputSchema: jsonSchema(SCHEMA) }),
]);
const calls = (found) => found.map((call) => [call.toolName, call.input]);

async function stream() {
  const answer = streamText({ ...asked, ...fails });
  let text = "";
  for await (const part of answer.textStream) text += part;
  said(text);
  same((await answer.usage).outputTokens > 0, true);
}

function tools([prompt, wanted, expected]) {
  return async () => {
    const toolChoice = wanted in ABOUT ? { type: "tool", toolName: wanted } : wanted;
    const body = { ...asked, prompt, tools: Object.fromEntries(described), toolChoice };
    same(calls((await generateText(body)).toolCalls), expected);
    same(calls(await streamText({ ...body, ...fails }).toolCalls), expected);
    if (wanted !== "auto") return;
    const answered = Object.entries(body.tools).map(([name, one]) => [name, { ...one, execute: async () => "fine" }]);
    said((await generateText({ ...body, tools: Object.fromEntries(answered), stopWhen: isStepCount(2) })).text);
  };
}

async function structured() {
  const answer = await generateText({ ...asked, output: Output.object({ schema: jsonSchema(SCHEMA), name: "place" }) });
  same(answer.output, PARIS);
}

async function logprobs() {
  const answer = await generateText({
    ...asked, model: openai.chat(CHAT_MODEL), providerOptions: { openai: { logprobs: 2 } },
  });
  same(answer.providerMetadata.openai.logprobs[0].top_logprobs.length, 2);
}

async function embeddings() {
  const answer = await embedMany({ model: provider.embeddingModel(EMBEDDING_MODEL), values: TEXTS, maxRetries: 0 });
  same(answer.embeddings.map((vector) => vector.length), [256, 256]);
}

async function responses() {
  said((await generateText({ ...asked, model: openai.responses(CHAT_MODEL) })).text);
  said(await streamText({ ...asked, ...fails, model: openai.responses(CHAT_MODEL) }).text);
}

await run({
  chat: async () => said((await generateText(asked)).text),
  stream,
  ...Object.fromEntries(Object.entries(CALLS).map(([ability, call]) => [ability, tools(call)])),
  json_schema: structured,
  logprobs,
  embeddings,
  responses,
});
