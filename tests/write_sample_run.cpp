// Prints a result file in which every field is set, for schema_test.py and as a seed for fuzzing.
#include <cstdio>

#include "results/file/json.h"
#include "tests/sample_run.h"

int main() { std::fputs(assay::RunToJson(assay::SampleRun()).c_str(), stdout); }
