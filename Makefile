# The few verbs of the project. CI runs the same ones; see .ci/run.
.PHONY: build test race lint fuzz generate interop demo kill sim damage jepsen history bench-compare ci

build: ## the binary, in bin/cairn
	go build -o bin/cairn ./cmd/cairn

test: ## every unit and end-to-end test, under 3 minutes on 2 cores
	go test ./...

race: ## the race detector on the packages with goroutines
	bash .ci/run race

lint: ## gofmt, go vet, staticcheck, generated code
	bash .ci/run lint

fuzz: ## some thousand new inputs for every fuzz target
	bash .ci/run fuzz

generate: ## the gRPC code from api/proto
	bash tools/generate.sh

interop: ## other people's verifiers on our bytes
	bash .ci/run interop

kill: ## fifty SIGKILLs under load
	bash .ci/run kill

sim: ## two thousand simulated clusters under faults
	bash .ci/run sim

jepsen: ## simulated clusters, ten minutes of faults on real ones, and the deliberate bugs; about 15 minutes
	bash .ci/run sim zoo faults

history: ## 1,000,000 commands of settlement against the model, with proofs; 15 minutes of one processor
	go test ./jepsen/settle -run TestOneHistory -v -timeout 3h -args -seed 1 -commands 1000000 -every 50

damage: ## files of stopped nodes are damaged: fifty times 1 % of all pages, fifty times a file, a thousand single bits; about two hours
	go build -o bin/cairn ./cmd/cairn
	go build -o bin/cairn-jepsen ./cmd/cairn-jepsen
	rm -rf bin/damage && mkdir -p bin/damage
	bin/cairn-jepsen damage --cairn bin/cairn --dir bin/damage/pages --kind pages --trials 50 --seed 11
	bin/cairn-jepsen damage --cairn bin/cairn --dir bin/damage/delete --kind delete --trials 50 --seed 11
	bin/cairn-jepsen damage --cairn bin/cairn --dir bin/damage/store --kind pages --under data/ledger --trials 50 --seed 11
	bin/cairn-jepsen damage --cairn bin/cairn --dir bin/damage/flip --kind flip --trials 1000 --seed 11

bench-compare: ## Cairn beside etcd, in turns; about half an hour, results in docs/performance
	go -C tools/compare run . --out ../../docs/performance

demo: ## the whole story in half a minute
	go run ./cmd/cairn demo

ci: ## everything that CI runs
	bash .ci/run
