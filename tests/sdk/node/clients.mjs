// One call through the gateway with a real Node client: `node clients.mjs CLIENT URL [PATH]`, the key in CALLER_KEY.
// Prints one line of JSON with what the client made of the answer. Retries are off: one call, one record.
import Anthropic from "@anthropic-ai/sdk";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { GoogleGenAI } from "@google/genai";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const [client, base, path] = process.argv.slice(2);
const apiKey = process.env.CALLER_KEY;
const messages = [{ role: "user", content: "Say hello" }];
const openai = () => new OpenAI({ baseURL: base + (path || "/openai/v1"), apiKey, maxRetries: 0 });
const anthropic = () => new Anthropic({ baseURL: `${base}/anthropic`, apiKey, maxRetries: 0 });
const google = () => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: `${base}/google` } });
const vercelOpenAI = () => createOpenAI({ baseURL: `${base}/openai/v1`, apiKey }).chat("gpt-4o");
const vercelAnthropic = () => createAnthropic({ baseURL: `${base}/anthropic/v1`, apiKey })("claude-sonnet-4-5");

const clients = {
  async "openai"() {
    const answer = await openai().chat.completions.create({ model: "gpt-4o", messages });
    return { text: answer.choices[0].message.content };
  },
  async "openai-stream"() {
    let text = "";
    for await (const chunk of await openai().chat.completions.create({ model: "gpt-4o", messages, stream: true })) {
      if (chunk.choices.length === 0) throw new Error("a chunk without choices: usage nobody asked for");
      text += chunk.choices[0].delta.content ?? "";
    }
    return { text };
  },
  async "openai-refused"() {
    try {
      await openai().models.retrieve("../secrets");
    } catch (error) {
      return { status: error.status, code: error.code ?? null, kind: error.constructor.name };
    }
    return { status: 200 };
  },
  async "anthropic"() {
    const answer = await anthropic().messages.create({ model: "claude-sonnet-4-5", max_tokens: 64, messages });
    return { text: answer.content[0].text };
  },
  async "anthropic-stream"() {
    const stream = anthropic().messages.stream({ model: "claude-sonnet-4-5", max_tokens: 64, messages });
    return { text: await stream.finalText() };
  },
  async "google"() {
    const answer = await google().models.generateContent({ model: "gemini-2.5-flash", contents: "Say hello" });
    return { text: answer.text };
  },
  async "google-stream"() {
    let text = "";
    const asked = { model: "gemini-2.5-flash", contents: "Say hello" };
    for await (const chunk of await google().models.generateContentStream(asked)) text += chunk.text ?? "";
    return { text };
  },
  async "vercel-openai"() {
    const answer = await generateText({ model: vercelOpenAI(), prompt: "Say hello", maxRetries: 0 });
    return { text: answer.text };
  },
  async "vercel-openai-stream"() {
    return { text: await streamText({ model: vercelOpenAI(), prompt: "Say hello", maxRetries: 0 }).text };
  },
  async "vercel-anthropic-stream"() {
    return { text: await streamText({ model: vercelAnthropic(), prompt: "Say hello", maxRetries: 0 }).text };
  },
};

console.log(JSON.stringify(await clients[client]()));
