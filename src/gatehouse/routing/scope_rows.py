"""The endpoint table as data: which paths a stored credential serves (`scopes` says what the columns mean).

Rules: one row a line: methods, the provider's own path below its base and version, scope, cost class, and `stored`
where it lists, reads or uses what the provider keeps. `{}` is one segment, a trailing `**` anything below; a literal
segment goes before `{}`, and `{}` before `**`. What is in no row is refused, so a new endpoint is a new row.
Sources: every method and path of openai-py 3.52, anthropic-py 2.11 and google-genai 3.4 (a test walks them), and for
what compatible providers add their own references: Cohere and Jina (`rerank`), Mistral (`fim`, `ocr`), Vertex
(`rawPredict`, `endpoints/openapi`), Bedrock (`model`: Runtime API reference).
"""

from __future__ import annotations

from typing import Final

OPENAI: Final = """
POST             /chat/completions                           chat         metered
GET              /chat/completions                           chat         free       stored
GET,POST,DELETE  /chat/completions/{}                        chat         free       stored
GET              /chat/completions/{}/messages               chat         free       stored
POST             /completions                                chat         metered
POST             /fim/completions                            chat         unbounded
POST             /responses                                  chat         metered
GET              /responses                                  chat         unbounded  stored
POST             /responses/compact                          chat         model
POST             /responses/input_tokens                     chat         free
GET,DELETE       /responses/{}                               chat         free       stored
POST             /responses/{}/cancel                        chat         free       stored
GET              /responses/{}/input_items                   chat         free       stored
POST             /conversations                              assistants   free       stored
GET,POST,DELETE  /conversations/{}                           assistants   free       stored
GET,POST         /conversations/{}/items                     assistants   free       stored
GET,DELETE       /conversations/{}/items/{}                  assistants   free       stored
POST             /decisions                                  chat         unbounded
POST             /model/{}/converse                          chat         unbounded
POST             /model/{}/converse-stream                   chat         unbounded
POST             /model/{}/count-tokens                      chat         free
POST             /model/{}/invoke                            chat         unbounded
POST             /model/{}/invoke-with-response-stream       chat         unbounded
POST             /embeddings                                 embeddings   metered
POST             /rerank                                     embeddings   unbounded
POST             /moderations                                moderations  metered
POST             /content_provenance_checks                  moderations  unbounded
POST             /images/generations                         images       model
POST             /images/edits                               images       unbounded
POST             /images/variations                          images       unbounded
POST             /ocr                                        images       unbounded  stored
POST             /videos                                     images       unbounded  stored
GET              /videos                                     images       free       stored
POST             /videos/characters                          images       unbounded
GET              /videos/characters/{}                       images       free       stored
POST             /videos/edits                               images       unbounded  stored
POST             /videos/extensions                          images       unbounded  stored
GET,DELETE       /videos/{}                                  images       free       stored
GET              /videos/{}/content                          images       free       stored
POST             /videos/{}/remix                            images       unbounded  stored
POST             /audio/speech                               audio        unbounded
POST             /audio/transcriptions                       audio        unbounded
POST             /audio/translations                         audio        unbounded
GET              /audio/voices                               audio        free       stored
POST             /audio/voices                               audio        unbounded  stored
GET,POST,DELETE  /audio/voices/{}                            audio        free       stored
GET              /audio/voice_consents                       audio        free       stored
POST             /audio/voice_consents                       audio        free
GET,POST,DELETE  /audio/voice_consents/{}                    audio        free       stored
POST             /files                                      files        free
GET              /files                                      files        free       stored
GET,DELETE       /files/{}                                   files        free       stored
GET              /files/{}/content                           files        free       stored
POST             /uploads                                    files        free
POST             /uploads/{}/parts                           files        free       stored
POST             /uploads/{}/complete                        files        free       stored
POST             /uploads/{}/cancel                          files        free       stored
POST             /batches                                    batches      unbounded  stored
GET              /batches                                    batches      free       stored
GET              /batches/{}                                 batches      free       stored
POST             /batches/{}/cancel                          batches      free       stored
POST             /fine_tuning/jobs                           fine_tuning  unbounded  stored
GET              /fine_tuning/jobs                           fine_tuning  free       stored
GET              /fine_tuning/jobs/{}                        fine_tuning  free       stored
GET              /fine_tuning/jobs/{}/events                 fine_tuning  free       stored
GET              /fine_tuning/jobs/{}/checkpoints            fine_tuning  free       stored
POST             /fine_tuning/jobs/{}/cancel                 fine_tuning  free       stored
POST             /fine_tuning/jobs/{}/pause                  fine_tuning  free       stored
POST             /fine_tuning/jobs/{}/resume                 fine_tuning  unbounded  stored
POST             /fine_tuning/alpha/graders/run              fine_tuning  unbounded
POST             /fine_tuning/alpha/graders/validate         fine_tuning  free
GET,POST,DELETE  /fine_tuning/checkpoints/**                 provider:any unbounded  stored
GET,DELETE       /evals/**                                   fine_tuning  free       stored
POST             /evals/**                                   fine_tuning  unbounded  stored
GET              /evals                                      fine_tuning  free       stored
POST             /evals                                      fine_tuning  free       stored
GET              /models                                     models       free
GET              /models/**                                  models       free
DELETE           /models/{}                                  fine_tuning  free       stored
GET              /realtime                                   realtime     unbounded
GET              /realtime/translations                      realtime     unbounded
POST             /realtime/calls                             realtime     unbounded
POST             /realtime/calls/{}/accept                   realtime     unbounded  stored
POST             /realtime/calls/{}/hangup                   realtime     free       stored
POST             /realtime/calls/{}/refer                    realtime     unbounded  stored
POST             /realtime/calls/{}/reject                   realtime     free       stored
POST             /realtime/client_secrets                    provider:any unbounded
POST             /realtime/sessions                          provider:any unbounded
POST             /realtime/transcription_sessions            provider:any unbounded
POST             /realtime/translations/client_secrets       provider:any unbounded
POST             /live/sessions                              realtime     unbounded
POST             /live/sessions/{}/accept                    realtime     unbounded  stored
GET              /live/sessions/{}/content                   realtime     free       stored
POST             /live/sessions/{}/fork                      realtime     unbounded  stored
POST             /live/sessions/{}/hangup                    realtime     free       stored
POST             /live/sessions/{}/refer                     realtime     unbounded  stored
POST             /live/sessions/{}/reject                    realtime     free       stored
POST             /assistants                                 assistants   free       stored
GET              /assistants                                 assistants   free       stored
GET,POST,DELETE  /assistants/{}                              assistants   free       stored
POST             /threads                                    assistants   free       stored
POST             /threads/runs                               assistants   unbounded  stored
GET,POST,DELETE  /threads/{}                                 assistants   free       stored
GET,POST         /threads/{}/messages                        assistants   free       stored
GET,POST,DELETE  /threads/{}/messages/{}                     assistants   free       stored
GET              /threads/{}/runs                            assistants   free       stored
POST             /threads/{}/runs                            assistants   unbounded  stored
GET,POST         /threads/{}/runs/{}                         assistants   free       stored
POST             /threads/{}/runs/{}/cancel                  assistants   free       stored
GET              /threads/{}/runs/{}/steps                   assistants   free       stored
GET              /threads/{}/runs/{}/steps/{}                assistants   free       stored
POST             /threads/{}/runs/{}/submit_tool_outputs     assistants   unbounded  stored
GET,DELETE       /vector_stores/**                           assistants   free       stored
POST             /vector_stores/**                           assistants   unbounded  stored
GET              /vector_stores                              assistants   free       stored
POST             /vector_stores                              assistants   unbounded  stored
GET,DELETE       /containers/**                              assistants   free       stored
POST             /containers/**                              assistants   free       stored
GET              /containers                                 assistants   free       stored
POST             /containers                                 assistants   unbounded  stored
GET,DELETE       /skills/**                                  assistants   free       stored
POST             /skills/**                                  assistants   free       stored
GET              /skills                                     assistants   free       stored
POST             /skills                                     assistants   free
GET,DELETE       /agents/**                                  assistants   free       stored
POST             /agents/**                                  assistants   unbounded  stored
GET              /agents                                     assistants   free       stored
POST             /agents                                     assistants   free
GET,DELETE       /chatkit/threads/**                         assistants   free       stored
GET              /chatkit/threads                            assistants   free       stored
POST             /chatkit/sessions                           provider:any unbounded
POST             /chatkit/sessions/{}/cancel                 provider:any free       stored
GET,POST,DELETE  /vaults                                     provider:any free       stored
GET,POST,DELETE  /vaults/**                                  provider:any free       stored
GET,POST,DELETE  /webhook_endpoints                          provider:any free       stored
GET,POST,DELETE  /webhook_endpoints/**                       provider:any free       stored
GET              /webhook_event_types                        provider:any free
GET,POST         /safety/**                                  provider:any free       stored
GET,POST,DELETE  /projects/**                                provider:any free       stored
GET,POST,DELETE  /organization/**                            provider:any free       stored
"""

ANTHROPIC: Final = """
POST             /messages                                   chat         metered
POST             /messages/count_tokens                      chat         free
POST             /messages/batches                           batches      unbounded  stored
GET              /messages/batches                           batches      free       stored
GET,DELETE       /messages/batches/{}                        batches      free       stored
POST             /messages/batches/{}/cancel                 batches      free       stored
GET              /messages/batches/{}/results                batches      free       stored
GET              /models                                     models       free
GET              /models/{}                                  models       free
POST             /files                                      files        free
GET              /files                                      files        free       stored
GET,DELETE       /files/{}                                   files        free       stored
GET              /files/{}/content                           files        free       stored
GET              /skills                                     assistants   free       stored
POST             /skills                                     assistants   free
GET,POST,DELETE  /skills/**                                  assistants   free       stored
GET              /agents                                     assistants   free       stored
POST             /agents                                     assistants   free
GET,POST         /agents/**                                  assistants   free       stored
GET              /environments                               assistants   free       stored
POST             /environments                               assistants   free
GET,POST,DELETE  /environments/**                            assistants   free       stored
GET              /deployments                                assistants   free       stored
POST             /deployments                                assistants   unbounded  stored
GET              /deployments/**                             assistants   free       stored
POST             /deployments/**                             assistants   unbounded  stored
GET              /deployment_runs                            assistants   free       stored
GET              /deployment_runs/{}                         assistants   free       stored
GET              /dreams                                     assistants   free       stored
POST             /dreams                                     assistants   unbounded  stored
GET,POST         /dreams/**                                  assistants   free       stored
GET              /memory_stores                              assistants   free       stored
POST             /memory_stores                              assistants   free
GET,POST,DELETE  /memory_stores/**                           assistants   free       stored
GET              /sessions                                   assistants   free       stored
POST             /sessions                                   assistants   unbounded  stored
GET,DELETE       /sessions/**                                assistants   free       stored
POST             /sessions/**                                assistants   unbounded  stored
GET,POST         /tunnels                                    provider:any free       stored
GET,POST         /tunnels/**                                 provider:any free       stored
GET,POST         /user_profiles                              provider:any free       stored
GET,POST,DELETE  /user_profiles/**                           provider:any free       stored
GET,POST         /vaults                                     provider:any free       stored
GET,POST,DELETE  /vaults/**                                  provider:any free       stored
GET,POST,DELETE  /organizations/**                           provider:any free       stored
"""

GOOGLE: Final = """
GET              /models                                     models       free
GET              /models/{}                                  models       free
PATCH,DELETE     /models/{}                                  fine_tuning  free       stored
POST             /models/{}:generateContent                  chat         metered
POST             /models/{}:streamGenerateContent            chat         metered
POST             /models/{}:countTokens                      chat         free
POST             /models/{}:computeTokens                    chat         free
POST             /models/{}:rawPredict                       chat         unbounded
POST             /models/{}:streamRawPredict                 chat         unbounded
POST             /models/{}:embedContent                     embeddings   metered
POST             /models/{}:batchEmbedContents               embeddings   metered
POST             /models/{}:batchGenerateContent             batches      unbounded
POST             /models/{}:asyncBatchEmbedContent           batches      unbounded
POST             /models/{}:predict                          images       unbounded
POST             /models/{}:predictLongRunning               images       unbounded
POST             /models/{}:fetchPredictOperation            images       free       stored
GET              /models/{}/operations/{}                    images       free       stored
POST             /endpoints/openapi/chat/completions         chat         unbounded
POST             /endpoints/{}:generateContent               chat         metered
POST             /endpoints/{}:streamGenerateContent         chat         metered
POST             /endpoints/{}:countTokens                   chat         free
POST             /endpoints/{}:computeTokens                 chat         free
POST             /endpoints/{}:predict                       chat         unbounded
POST             /endpoints/{}:rawPredict                    chat         unbounded
POST             /endpoints/{}:streamRawPredict              chat         unbounded
GET              /tunedModels                                fine_tuning  free       stored
POST             /tunedModels                                fine_tuning  unbounded
GET,PATCH,DELETE /tunedModels/{}                             fine_tuning  free       stored
POST             /tunedModels/{}:cancel                      fine_tuning  free       stored
GET              /tunedModels/{}/operations/{}               fine_tuning  free       stored
POST             /tunedModels/{}:generateContent             chat         metered    stored
POST             /tunedModels/{}:streamGenerateContent       chat         metered    stored
POST             /tunedModels/{}:countTokens                 chat         free       stored
POST             /tuningJobs                                 fine_tuning  unbounded
GET              /tuningJobs                                 fine_tuning  free       stored
GET              /tuningJobs/{}                              fine_tuning  free       stored
POST             /tuningJobs/{}:cancel                       fine_tuning  free       stored
POST             /tuningJobs:validateReinforcementTuningReward  fine_tuning unbounded
POST             /cachedContents                             files        metered
GET              /cachedContents                             files        free       stored
GET,PATCH,DELETE /cachedContents/{}                          files        free       stored
POST             /interactions                               chat         unbounded  stored
GET,DELETE       /interactions/{}                            chat         free       stored
POST             /interactions/{}/cancel                     chat         free       stored
POST             /decisions                                  chat         unbounded
POST             /files                                      files        free
GET              /files                                      files        free       stored
POST             /files:register                             files        free       stored
GET,DELETE       /files/{}                                   files        free       stored
GET              /files/{}:download                          files        free       stored
GET              /download/files/{}:download                 files        free       stored
POST,PUT         /upload/files                               files        free
POST,PUT         /resumable/upload/files                     files        free
POST,PUT         /upload/fileSearchStores/{}:uploadToFileSearchStore  assistants unbounded stored
GET              /fileSearchStores                           assistants   free       stored
POST             /fileSearchStores                           assistants   free
GET,DELETE       /fileSearchStores/**                        assistants   free       stored
POST             /fileSearchStores/**                        assistants   unbounded  stored
GET              /batches                                    batches      free       stored
GET,DELETE       /batches/{}                                 batches      free       stored
POST             /batches/{}:cancel                          batches      free       stored
POST             /batchPredictionJobs                        batches      unbounded  stored
GET              /batchPredictionJobs                        batches      free       stored
GET,DELETE       /batchPredictionJobs/{}                     batches      free       stored
POST             /batchPredictionJobs/{}:cancel              batches      free       stored
GET,DELETE       /operations/{}                              batches      free       stored
POST             /operations/{}:cancel                       batches      free       stored
GET              /ws/**                                      realtime     unbounded
GET              /voices                                     audio        free       stored
POST             /voices                                     audio        unbounded  stored
GET,DELETE       /voices/{}                                  audio        free       stored
GET              /agents                                     assistants   free       stored
POST             /agents                                     assistants   free
GET,DELETE       /agents/{}                                  assistants   free       stored
GET              /environments                               assistants   free       stored
POST             /environments                               assistants   unbounded
GET,DELETE       /environments/{}                            assistants   free       stored
GET              /environments/{}/files/**                   assistants   free       stored
POST,PUT         /upload/environments/{}/files/**            assistants   free       stored
GET              /triggers                                   assistants   free       stored
POST             /triggers                                   assistants   unbounded  stored
GET,DELETE       /triggers/{}                                assistants   free       stored
PATCH            /triggers/{}                                assistants   unbounded  stored
GET              /triggers/{}/executions                     assistants   free       stored
POST             /triggers/{}/executions                     assistants   unbounded  stored
POST             /auth_tokens                                provider:any unbounded
GET,POST         /credentials                                provider:any free       stored
GET,PATCH,DELETE /credentials/{}                             provider:any free       stored
GET,POST         /webhooks                                   provider:any free       stored
GET,PATCH,DELETE /webhooks/{}                                provider:any free       stored
POST             /webhooks/{}:ping                           provider:any free       stored
POST             /webhooks/{}:rotateSigningSecret            provider:any free       stored
"""
