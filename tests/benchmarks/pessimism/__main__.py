from tests.benchmarks.pessimism import main

main()
