from tests.benchmarks.tuning import main

main()
