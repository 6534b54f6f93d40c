# Everything here works on a machine with Python 3.11+, make and git; `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: bench help demo test check format schemas messages train evaluate ablate faults faults-long recovery backtest bench-spent bench-state bench-restore bench-reasons bench-timers bench-drift bench-java bench-rivals lock clean bench-hot bench-stages bench-check bench-growth bench-soak
BIN := .venv/bin
DEMO := .venv/.installed-demo
DEV := .venv/.installed-dev
BENCH := .venv-bench/.installed-bench
DATA ?= ../shared/data
LOCKED := pyproject.toml requirements/build.in
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 16

demo: $(DEMO) ## a real purchase log through the service, on an embedded Kafka and Valkey (ARGS=--keep leaves it running)
	@$(BIN)/ebbtide demo $(ARGS)

test: $(DEV) ## every test, on embedded servers (ARGS="-k name" runs some)
	$(BIN)/python -m pytest $(ARGS)

check: $(DEV) ## lint, types, layers, schemas
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/ebbtide schemas check

format: $(DEV) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

messages: $(DEV) ## compile the sentences in consumer/locale
	$(BIN)/python -m consumer.catalogues

schemas: $(DEV) ## write schemas/json from the models
	$(BIN)/ebbtide schemas export

train: $(DEV) ## pre-train the shipped model again, into model/ (24 to 40 minutes; goes on where it was interrupted)
	$(BIN)/ebbtide train pretrain --out model --checkpoint model.checkpoint

evaluate: $(DEV) ## models and baselines on the real logs in DATA (../shared/data), into evaluation/
	$(BIN)/ebbtide evaluate --data $(DATA) --out evaluation --finetune --ablations docs/evaluation/ablations.json $(ARGS)

ablate: $(DEV) ## what each prior, input and architecture bought, into docs/evaluation/ablations.json
	$(BIN)/ebbtide train ablate --data $(DATA) --out docs/evaluation/ablations.json $(ARGS)

faults: $(DEV) ## some minutes of real faults, and what the checker says (ARGS="--seed 1")
	PYTHONPATH=tests $(BIN)/python -m faults --faults 30 --budget 360s $(ARGS)

faults-long: $(DEV) ## a thousand faults, for hours; goes on where it was interrupted; writes docs/faults.md
	PYTHONPATH=tests $(BIN)/python -m faults.long --faults 1000 $(ARGS)

recovery: $(DEV) ## how long recovery takes, into bench/results/recovery.json
	PYTHONPATH=tests $(BIN)/python -m faults.recovery $(ARGS)

backtest: $(DEV) ## alerts against a rule of thumb on three real logs; needs ../shared/data; pages into backtest/
	$(BIN)/python -m bench.backtest --data $(DATA) --out backtest $(ARGS)

bench-spent: $(DEV) ## is the alert budget spent, on time the model has not seen; needs ../shared/data; into bench/results/spent.json
	$(BIN)/python -m bench.spent --data $(DATA) $(ARGS)

bench: $(DEV) $(BENCH) ## ten minutes of the benchmarks below: stages, rivals, growth, recovery; into bench/quick/
	$(BIN)/python -m bench.stages --quick
	$(BIN)/python -m bench.same_job --quick
	$(BIN)/python -m bench.growth --quick
	$(BIN)/python -m bench.restore --quick

bench-state: $(DEV) ## how large packed states are; needs ../shared/data; into bench/results/state_size.json
	$(BIN)/python -m bench.state_size --data $(DATA) $(ARGS)

bench-restore: $(DEV) ## how many users a claim brings back into Redis in a second, into bench/results/restore.json
	$(BIN)/python -m bench.restore $(ARGS)

bench-reasons: $(DEV) ## what reasons cost, and whether planted causes are named first; into bench/results/reasons.json
	$(BIN)/python -m bench.reasons $(ARGS)

bench-timers: $(DEV) ## what a million pending timers cost a partition and its traffic, into bench/results/timers.json and timers_traffic.json
	$(BIN)/python -m bench.timers $(ARGS)

bench-drift: $(DEV) ## what drift shows and costs on the real logs; needs ../shared/data; into bench/results/drift.json
	$(BIN)/python -m bench.drift --data $(DATA) $(ARGS)

bench-java: ## build the rival in Kafka Streams (needs Java 17 and Maven)
	mvn --batch-mode --quiet --file bench/rivals/kafka-streams/pom.xml package

bench-hot: $(DEV) ## what one user with a million events in a day costs, into bench/results/hot_user.json
	$(BIN)/python -m bench.hot_user $(ARGS)

bench-growth: $(DEV) ## how cost per event grows with users, history, partitions, processes, batches, timers (ARGS=--quick)
	$(BIN)/python -m bench.growth $(ARGS)

bench-soak: $(DEV) ## half an hour of steady load: does memory stay flat? (ARGS="--minutes 5"); into bench/results/soak.json
	$(BIN)/python -m bench.soak $(ARGS)

bench-rivals: $(DEV) $(BENCH) ## the same job in other hands (ARGS=--quick for some minutes); into bench/results/same_job.json
	$(BIN)/python -m bench.same_job $(ARGS)

bench-stages: $(DEV) ## where the time goes, stage by stage, and the limit; into bench/results/stages.json and docs/benchmarks/stages.svg
	$(BIN)/python -m bench.stages $(ARGS)

bench-check: $(DEV) ## whether a change has slowed the hot path by more than 20 % (ARGS=--write sets the mark anew)
	$(BIN)/python -m bench.check $(ARGS)

lock: $(DEV) ## resolve the lock files anew
	$(COMPILE) --upgrade --extra dev $(LOCKED) --output-file requirements/dev.lock
	$(COMPILE) --constraint requirements/dev.lock --extra files --extra embedded --extra report $(LOCKED) --output-file requirements/demo.lock
	$(COMPILE) --constraint requirements/dev.lock pyproject.toml --output-file requirements/run.lock
	$(COMPILE) --constraint requirements/dev.lock requirements/build.in --output-file requirements/build.lock
	$(COMPILE) --upgrade requirements/bench.in --output-file requirements/bench.lock

clean: ## remove the environment and all caches of this folder
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info

$(DEMO): requirements/demo.lock pyproject.toml
	@tools/install demo

$(DEV): requirements/dev.lock pyproject.toml
	@tools/install dev

$(BENCH): requirements/bench.lock
	@tools/install bench
