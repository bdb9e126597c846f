// The hub's own JavaScript client: what was asked and what came, as JSON on the standard output.
import { InferenceClient } from "@huggingface/inference";

const base = process.argv[2];
const client = new InferenceClient("unused");
const at = (model) => ({ endpointUrl: `${base}/models/${model}` });
const SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct";
const messages = [{ role: "user", content: "What is the weather in Paris?" }];
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }];

async function refusal(call) {
  try {
    await call();
    return null;
  } catch (error) {
    return { kind: error.constructor.name, status: error.httpResponse?.status, message: error.message };
  }
}

async function collect(stream, take) {
  const found = [];
  for await (const chunk of stream) found.push(take(chunk));
  return found;
}

const generation = { ...at(SMOLLM), inputs: "The capital of France is", parameters: { max_new_tokens: 5, do_sample: false } };
const chat = { ...at("far/able"), model: "far/able", messages };
const photo = new Blob([Buffer.from("a photo")], { type: "image/jpeg" });
const speech = new Blob([Buffer.from(process.argv[3], "base64")], { type: "audio/wav" });
const image = await client.textToImage({ ...at("fake/image"), inputs: "a circle", parameters: { width: 32, height: 16 } });
const zeroShot = { ...at("nearfar/minilm-zero-shot"), inputs: "The match ended in a draw." };

console.log(JSON.stringify({
  embedding: (await client.featureExtraction({ ...at("sentence-transformers/all-MiniLM-L6-v2"), inputs: "hello" })).length,
  labels: (await client.textClassification({ ...at("nearfar/minilm-intent"), inputs: "Write a function." })).length,
  zeroShot: await client.zeroShotClassification({ ...zeroShot, parameters: { candidate_labels: ["sports", "cooking"] } }),
  generated: (await client.textGeneration(generation)).generated_text,
  generatedStreamed: await collect(client.textGenerationStream(generation), (chunk) => chunk.choices[0].text),
  chat: (await client.chatCompletion(chat)).choices[0].message.content,
  chatStreamed: (await collect(client.chatCompletionStream(chat), (chunk) => chunk.choices[0]?.delta.content ?? "")).join(""),
  tool: (await client.chatCompletion({ ...chat, tools })).choices[0].message.tool_calls[0].function,
  image: Buffer.from(await image.arrayBuffer()).subarray(1, 4).toString(),
  photo: await client.imageClassification({ ...at("fake/photo"), data: photo }),
  transcript: (await client.automaticSpeechRecognition({ ...at("fake/speech"), data: speech })).text,
  notFound: await refusal(() => client.featureExtraction({ ...at("nobody/knows"), inputs: "x" })),
  bad: await refusal(() => client.textGeneration({ ...generation, parameters: { temperature: -1 } })),
  unable: await refusal(() => client.chatCompletion({ ...at(`${SMOLLM}:local`), model: SMOLLM, messages, tools })),
}));
