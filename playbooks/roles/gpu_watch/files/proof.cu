// What each GPU has to compute before it is trusted. playbooks/module_utils/gpu_host/cuda.py computes the same on the CPU and
// compares every number. It touches what engines need: global and shared memory, barriers, atomic operations, integer arithmetic.
// proof.ptx is made of it by tests/integration/cuda/compile.py.

extern "C" __global__ void slipway_proof(
    const unsigned *first, const unsigned *second, unsigned *out, unsigned *total, unsigned count)
{
    __shared__ unsigned sum;
    if (threadIdx.x == 0)
        sum = 0;
    __syncthreads();
    for (unsigned index = blockIdx.x * blockDim.x + threadIdx.x; index < count; index += gridDim.x * blockDim.x) {
        unsigned value = first[index] ^ index;
        for (int round = 0; round < 8; round++) {
            value = value * 2654435761u + second[index];
            value ^= value >> 15;
        }
        out[index] = value;
        atomicAdd(&sum, value);
    }
    __syncthreads();
    if (threadIdx.x == 0)
        atomicAdd(total, sum);
}
