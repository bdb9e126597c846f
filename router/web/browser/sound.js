// Recordings as speech models hear them: one channel, 16,000 samples a second. (Workers cannot decode; pages can.)

const RATE = 16_000;

/** @param {Blob} recording  @returns {Promise<{samples: Float32Array, rate: number}>} */
export async function soundOf(recording) {
  const context = new OfflineAudioContext(1, RATE, RATE);
  let sound;
  try {
    sound = await context.decodeAudioData(await recording.arrayBuffer());
  } catch {
    throw new Error("This browser cannot decode the recording: use WAV, MP3, OGG, FLAC or MP4.");
  }
  const samples = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
    const own = sound.getChannelData(channel);
    for (let i = 0; i < own.length; i += 1) samples[i] += own[i] / sound.numberOfChannels;
  }
  return { samples, rate: RATE };
}
