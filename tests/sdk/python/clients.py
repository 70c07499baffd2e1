"""Calls through the gateway with frameworks' own clients: `python clients.py URL CLIENT…`, the key in CALLER_KEY.

Prints one line of JSON: what each client made of its answer, in order. Runs in an environment of its own
(`requirements.txt`), and all calls in one process: the imports alone take seconds.
"""

import json
import os
import sys

import litellm
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

URL = sys.argv[1]
KEY = os.environ["CALLER_KEY"]
HELLO = [{"role": "user", "content": "Say hello"}]


def openai() -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o", base_url=f"{URL}/openai/v1", api_key=KEY, max_retries=0)


def anthropic() -> ChatAnthropic:
    return ChatAnthropic(
        model="claude-sonnet-4-5", base_url=f"{URL}/anthropic", api_key=KEY, max_retries=0, max_tokens=64
    )


def through_litellm(model: str, base: str, *, stream: bool) -> str:
    answer = litellm.completion(model, HELLO, api_base=URL + base, api_key=KEY, stream=stream, num_retries=0)
    if not stream:
        return answer.choices[0].message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer)


CLIENTS = {
    "langchain-openai": lambda: openai().invoke("Say hello").text,
    "langchain-openai-stream": lambda: "".join(chunk.text for chunk in openai().stream("Say hello")),
    "langchain-openai-embeddings": lambda: len(
        OpenAIEmbeddings(
            model="text-embedding-3-small",
            base_url=f"{URL}/openai/v1",
            api_key=KEY,
            max_retries=0,
            check_embedding_ctx_length=False,
        ).embed_query("hello")
    ),
    "langchain-anthropic": lambda: anthropic().invoke("Say hello").text,
    "langchain-anthropic-stream": lambda: "".join(chunk.text for chunk in anthropic().stream("Say hello")),
    "litellm-openai": lambda: through_litellm("openai/gpt-4o", "/openai/v1", stream=False),
    "litellm-openai-stream": lambda: through_litellm("openai/gpt-4o", "/openai/v1", stream=True),
    "litellm-anthropic": lambda: through_litellm("anthropic/claude-sonnet-4-5", "/anthropic", stream=False),
}

sys.stdout.write(json.dumps([CLIENTS[client]() for client in sys.argv[2:]]) + "\n")
