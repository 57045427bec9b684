// A decoder pulls from a prompt; then the two change roles, and the other one links and pushes.
//
//   g++ -std=c++17 switch_roles.cpp $(pkg-config --cflags --libs pmd_kv) -o switch_roles
//   ./switch_roles prompt 127.0.0.1 &
//   ./switch_roles decoder 127.0.0.1
#include "cluster.h"

namespace {
void RunPrompt(const Setting &setting) {
  Cluster first(setting, kPromptId, llm_datadist::LlmRole::kPrompt, setting.prompt_port);
  first.Number();
  first.Register();
  SignalSocket other;
  Require(other.Accept(setting.signal_port), "waiting for the decoder");
  Require(other.Send('r'), "telling the decoder to begin");
  Require(other.Expect('1'), "waiting until the decoder has become a prompt");
  RequireDone(first.engine.SetRole(llm_datadist::LlmRole::kDecoder), "SetRole");
  first.Link(kDecoderId, setting.decoder_port);
  first.PushLastRows(kDecoderId);
  first.Unlink(kDecoderId, setting.decoder_port);
  Require(other.Send('2'), "telling the other side");
  first.Close();
}

void RunDecoder(const Setting &setting) {
  Cluster second(setting, kDecoderId, llm_datadist::LlmRole::kDecoder, 0);
  second.Register();
  SignalSocket other;
  Require(other.Connect(setting.ip.c_str(), setting.signal_port), "reaching the prompt");
  Require(other.Expect('r'), "waiting for the prompt's cache");
  second.Link(kPromptId, setting.prompt_port);
  second.PullFirstRows(kPromptId);
  second.Check(0, 3);
  second.Unlink(kPromptId, setting.prompt_port);

  const std::string listen = setting.ip + ":" + std::to_string(setting.decoder_port);
  RequireDone(
      second.engine.SetRole(llm_datadist::LlmRole::kPrompt, {{llm_datadist::OPTION_LISTEN_IP_INFO, listen.c_str()}}),
      "SetRole");
  Require(other.Send('1'), "telling the other side");
  Require(other.Expect('2'), "waiting until the other side has pushed");
  second.Check(0, 7);
  second.Close();
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
