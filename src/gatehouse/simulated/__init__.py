"""The provider inside the worker: OpenAI's shape, no model. Same request, same answer, to the byte."""
