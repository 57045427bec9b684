// A decoder pulls from a prompt: three blocks by their numbers, and a batch.
//
//   g++ -std=c++17 pull_cache_and_blocks.cpp $(pkg-config --cflags --libs pmd_kv) -o pull_cache_and_blocks
//   ./pull_cache_and_blocks prompt 127.0.0.1 &
//   ./pull_cache_and_blocks decoder 127.0.0.1
#include "cluster.h"

namespace {
void RunPrompt(const Setting &setting) {
  Cluster prompt(setting, kPromptId, llm_datadist::LlmRole::kPrompt, setting.prompt_port);
  prompt.Number();
  prompt.Register();
  SignalSocket decoder;
  Require(decoder.Accept(setting.signal_port), "waiting for the decoder");
  Require(decoder.Send('r'), "telling the decoder to begin");
  Require(decoder.Expect('1'), "waiting until the decoder has unlinked");
  prompt.Close();
}

void RunDecoder(const Setting &setting) {
  Cluster decoder(setting, kDecoderId, llm_datadist::LlmRole::kDecoder, setting.decoder_port);
  decoder.Register();
  SignalSocket prompt;
  Require(prompt.Connect(setting.ip.c_str(), setting.signal_port), "reaching the prompt");
  Require(prompt.Expect('r'), "waiting for the prompt's cache");
  decoder.Link(kPromptId, setting.prompt_port);
  decoder.PullFirstRows(kPromptId);
  decoder.Check(0, 3);
  decoder.Unlink(kPromptId, setting.prompt_port);
  Require(prompt.Send('1'), "telling the prompt");
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
