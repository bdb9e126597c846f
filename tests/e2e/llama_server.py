"""llama.cpp's own HTTP server on loopback: `python llama_server.py FILE.gguf PORT`, until it is killed."""

import sys
import threading

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path, params.model_alias = sys.argv[1], {"llama-smol"}
params.hostnames, params.port = ["127.0.0.1"], int(sys.argv[2])
params.n_ctx, params.n_parallel, params.n_gpu_layers, params.fit_params = 4096, 2, 0, False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
params.offline, params.verbosity, params.endpoint_metrics = True, -1, True

server = xllamacpp.Server(params)
threading.Event().wait()
