// A prompt pushes to a decoder: three blocks of one layer after the other, and a batch.
//
//   g++ -std=c++17 push_cache_and_blocks.cpp $(pkg-config --cflags --libs pmd_kv) -o push_cache_and_blocks
//   ./push_cache_and_blocks decoder 127.0.0.1 &
//   ./push_cache_and_blocks prompt 127.0.0.1
#include "cluster.h"

namespace {
void RunPrompt(const Setting &setting) {
  Cluster prompt(setting, kPromptId, llm_datadist::LlmRole::kPrompt, setting.prompt_port);
  prompt.Number();
  prompt.Register();
  SignalSocket decoder;
  Require(decoder.Connect(setting.ip.c_str(), setting.signal_port), "reaching the decoder");
  Require(decoder.Expect('r'), "waiting for the decoder's cache");
  prompt.Link(kDecoderId, setting.decoder_port);
  prompt.PushLastRows(kDecoderId);
  prompt.Unlink(kDecoderId, setting.decoder_port);
  Require(decoder.Send('1'), "telling the decoder");
  prompt.Close();
}

void RunDecoder(const Setting &setting) {
  Cluster decoder(setting, kDecoderId, llm_datadist::LlmRole::kDecoder, setting.decoder_port);
  decoder.Register();
  SignalSocket prompt;
  Require(prompt.Accept(setting.signal_port), "waiting for the prompt");
  Require(prompt.Send('r'), "telling the prompt to begin");
  Require(prompt.Expect('1'), "waiting until the prompt has pushed");
  decoder.Check(4, 7);
  decoder.Close();
}
}  // namespace

int main(int argc, char **argv) {
  Setting setting;
  if (!ParseSetting(argc, argv, setting)) {
    return 2;
  }
  setting.is_prompt ? RunPrompt(setting) : RunDecoder(setting);
  return 0;
}
