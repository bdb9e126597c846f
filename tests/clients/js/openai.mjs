// OpenAI's own JavaScript client: what was asked and what came, as JSON on the standard output.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "unused", maxRetries: 0 });
const SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct";
const MINILM = "sentence-transformers/all-MiniLM-L6-v2";
const messages = [{ role: "user", content: "What is the capital of France?" }];
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }];

async function refusal(call) {
  try {
    await call();
    return null;
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, param: error.param, message: error.message };
  }
}

async function add(stream, text) {
  let whole = "";
  for await (const chunk of stream) whole += text(chunk.choices[0]) ?? "";
  return whole;
}

const near = { model: SMOLLM, messages, max_tokens: 16, temperature: 0 };
const prompt = { model: SMOLLM, prompt: "The capital of France is", max_tokens: 5, temperature: 0 };
const far = { model: "far/able", messages, tools };
const speech = new File([Buffer.from(process.argv[3], "base64")], "a.wav");
const called = await client.chat.completions.stream(far).finalChatCompletion();
const image = await client.images.generate({ model: "fake/image", prompt: "x", n: 2, size: "32x16" });
const listed = [];
for await (const model of client.models.list()) listed.push(model.id);

console.log(JSON.stringify({
  chat: (await client.chat.completions.create(near)).choices[0].message.content,
  chatStreamed: await add(await client.chat.completions.create({ ...near, stream: true }), (choice) => choice?.delta.content),
  completion: (await client.completions.create(prompt)).choices[0].text,
  completionStreamed: await add(await client.completions.create({ ...prompt, stream: true }), (choice) => choice?.text),
  tool: (await client.chat.completions.create(far)).choices[0].message.tool_calls[0].function,
  toolStreamed: called.choices[0].message.tool_calls[0].function,
  finish: called.choices[0].finish_reason,
  embedding: (await client.embeddings.create({ model: MINILM, input: "hello" })).data[0].embedding.length,
  floats: (await client.embeddings.create({ model: MINILM, input: [7592], encoding_format: "float", dimensions: 8 })).data[0].embedding.length,
  images: image.data.map((one) => Buffer.from(one.b64_json, "base64").subarray(1, 4).toString()),
  transcript: (await client.audio.transcriptions.create({ model: "fake/speech", file: speech })).text,
  srt: await client.audio.transcriptions.create({ model: "fake/speech", file: speech, response_format: "srt" }),
  listed,
  model: (await client.models.retrieve(MINILM)).id,
  notFound: await refusal(() => client.chat.completions.create({ ...near, model: "nobody/knows" })),
  bad: await refusal(() => client.chat.completions.create({ ...near, temperature: -1 })),
  unable: await refusal(() => client.chat.completions.create({ ...near, model: `${SMOLLM}:local`, tools })),
  broken: await refusal(() => client.chat.completions.create({ ...far, model: "far/refusing.js" })),
  cut: await refusal(async () => add(await client.chat.completions.create({ ...far, model: "breaks", stream: true }), () => "")),
}));
