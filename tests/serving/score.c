/* Scores sequences with a SavedModel through TensorFlow's C API; no Python is in the process.

   score FOLDER ROWS STEPS WIDTH FRAMES LENGTH FRAMES_OP LENGTH_OP OUTPUT_OP OUTPUT_INDEX

   FRAMES and LENGTH are files of float32 and int32. Prints one log likelihood a line, or the
   message of an error, with status 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensorflow/c/c_api.h>

static void check(TF_Status* status) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%d: %s\n", TF_GetCode(status), TF_Message(status));
  exit(1);
}

static TF_Tensor* read_tensor(const char* path, TF_DataType type, const int64_t* sizes, int rank) {
  size_t bytes = 4;
  for (int i = 0; i < rank; ++i) bytes *= sizes[i];
  TF_Tensor* tensor = TF_AllocateTensor(type, sizes, rank, bytes);
  FILE* file = fopen(path, "rb");
  if (!file || fread(TF_TensorData(tensor), 1, bytes, file) != bytes) {
    fprintf(stderr, "cannot read %s\n", path);
    exit(2);
  }
  fclose(file);
  return tensor;
}

int main(int argc, char** argv) {
  if (argc != 11) return 2;
  const int64_t sizes[] = {atoll(argv[2]), atoll(argv[3]), atoll(argv[4])};
  const int rank = sizes[2] > 0 ? 3 : 2; /* a waveform has no width */
  const char* tags[] = {"serve"};
  TF_Status* status = TF_NewStatus();
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Graph* graph = TF_NewGraph();
  TF_Session* session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);
  TF_Tensor* values[] = {read_tensor(argv[5], TF_FLOAT, sizes, rank),
                         read_tensor(argv[6], TF_INT32, sizes, 1)};
  TF_Output inputs[] = {{TF_GraphOperationByName(graph, argv[7]), 0},
                        {TF_GraphOperationByName(graph, argv[8]), 0}};
  TF_Output output = {TF_GraphOperationByName(graph, argv[9]), atoi(argv[10])};
  if (!inputs[0].oper || !inputs[1].oper || !output.oper) return 2;
  TF_Tensor* found = NULL;
  TF_SessionRun(session, NULL, inputs, values, 2, &output, &found, 1, NULL, 0, NULL, status);
  check(status);
  for (int64_t i = 0; i < sizes[0]; ++i) printf("%.9g\n", ((float*)TF_TensorData(found))[i]);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  return 0;
}
