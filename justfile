# Short names for the scripts; nothing here needs `just`.

# List the recipes
default:
    @just --list

# Serve with sensor readings made inside, and watch a view of them
demo *ARGS:
    scripts/demo {{ARGS}}

# Every check; `just test fast` without Kafka
test *ARGS:
    scripts/test {{ARGS}}

# Suites of sql-tests/
slt *FILES:
    scripts/slt {{FILES}}

# Crash tests, 20 rounds or as many as given
crash *ROUNDS:
    scripts/crash {{ROUNDS}}

# The oracle over fresh seeds, for some seconds
oracle *ARGS:
    scripts/oracle {{ARGS}}

# The fuzzers, for some seconds each
fuzz *ARGS:
    scripts/fuzz {{ARGS}}

# An hour with more state than memory
soak *ARGS:
    scripts/bench soak {{ARGS}}

# Benchmarks: sensor, freshness, nexmark
bench *ARGS:
    scripts/bench {{ARGS}}

# A Kafka broker of our own: start, stop, run -- COMMAND
kafka *ARGS:
    scripts/kafka {{ARGS}}

# Format the sources
fmt:
    scripts/fmt

# Format check and lints
lint:
    scripts/lint
