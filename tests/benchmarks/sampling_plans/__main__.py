from tests.benchmarks.sampling_plans import main

main()
