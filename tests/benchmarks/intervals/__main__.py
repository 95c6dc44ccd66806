from tests.benchmarks.intervals import main

main()
