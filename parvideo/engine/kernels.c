// The two operations in which a decode step spends its time: products of few rows with a weight, and
// attention of few queries over cached keys and values. parvideo/engine/native.py compiles this file on the
// user's machine, once for each of float32 and (-DBFLOAT16) bfloat16, and calls it.
//
// A product of few rows is bound by reading the weight. It is therefore arranged so that it is read from its
// first byte to its last, 32 outputs at a time, while the sums of a block of rows stay in registers. Every
// output is one sum over the inputs in their order, whatever the number of rows and threads: what a row
// gives does not depend on its neighbours.
//
// Vectors of 16 floats are a GNU C extension (gcc, clang); a machine whose registers are shorter takes
// several for one.
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define LANES 16
#define PANEL 32  // outputs computed together: two vectors
#ifdef __AVX512F__
#define BLOCK 12  // rows whose sums fit the registers: 24 of 32
#else
#define BLOCK 4
#endif

#define BUSY 6  // rows from which the processor computes so long that it stops to read ahead by itself
#define FAR 16384  // bytes

typedef float vec __attribute__((vector_size(64)));
typedef float loose_vec __attribute__((vector_size(64), aligned(4)));
typedef int32_t ints __attribute__((vector_size(64)));
typedef uint32_t words __attribute__((vector_size(64)));
typedef uint16_t halves __attribute__((vector_size(32)));
typedef uint16_t loose_halves __attribute__((vector_size(32), aligned(2)));

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ints){__VA_ARGS__})
#endif

#ifdef BFLOAT16
typedef uint16_t number;
typedef uint32_t pair;  // two inputs of a row, as the weight holds them
#define PAIR 2
INLINE float bits_as_float(uint32_t bits) { float x; memcpy(&x, &bits, 4); return x; }
INLINE float get(number x) { return bits_as_float((uint32_t)x << 16); }
INLINE number put(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return x != x ? 0x7fc0 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;  // to nearest, ties to even
}
INLINE vec load(const number *x) {
  return (vec)(__builtin_convertvector(*(const loose_halves *)x, words) << 16);
}
#else
typedef float number;
typedef float pair;
#define PAIR 1
INLINE float get(number x) { return x; }
INLINE number put(float x) { return x; }
INLINE vec load(const number *x) { return *(const loose_vec *)x; }
#endif

INLINE vec spread(float x) { return (vec){} + x; }

// e^x, relative error below 2e-7; arguments are held within -87 and 88, NaN stays NaN.
INLINE vec exponential(vec x) {
  vec low = spread(-87.0f), high = spread(88.0f), magic = spread(12582912.0f);  // 1.5 * 2^23: rounds
  x = (vec)(((ints)x & ~(x < low)) | ((ints)low & (x < low)));
  x = (vec)(((ints)x & ~(x > high)) | ((ints)high & (x > high)));
  vec shifted = x * 1.44269504f + magic;
  vec whole = shifted - magic;
  vec rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  vec sum = spread(1.9875691500e-4f);
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * rest * rest + rest + 1.0f;
  ints power = ((ints)shifted - (ints)magic) << 23;
  return (vec)((ints)sum + power);
}

// Sums of `rows` rows over `inputs` (pairs of) inputs for one panel of the weight.
INLINE void panel(const int rows, const pair *x, const number *weight, long inputs, float *out) {
  vec sums[rows][2];
  for (int m = 0; m < rows; m++) sums[m][0] = sums[m][1] = spread(0.0f);
#pragma GCC unroll 4
  for (long k = 0; k < inputs; k++) {
    if (rows >= BUSY) {
      __builtin_prefetch((const char *)weight + 128 * k + FAR, 0, 2);
      __builtin_prefetch((const char *)weight + 128 * k + FAR + 64, 0, 2);
    }
#if !defined(BFLOAT16)
    vec left = load(weight + k * PANEL), right = load(weight + k * PANEL + LANES);
#pragma GCC unroll 12
    for (int m = 0; m < rows; m++) {
      vec value = spread(x[k * rows + m]);
      sums[m][0] += left * value;
      sums[m][1] += right * value;
    }
#elif defined(__AVX512BF16__)
    __m512bh left = (__m512bh)_mm512_loadu_si512(weight + k * 2 * PANEL);
    __m512bh right = (__m512bh)_mm512_loadu_si512(weight + k * 2 * PANEL + 2 * LANES);
#pragma GCC unroll 12
    for (int m = 0; m < rows; m++) {
      __m512bh value = (__m512bh)_mm512_set1_epi32(x[k * rows + m]);
      sums[m][0] = (vec)_mm512_dpbf16_ps((__m512)sums[m][0], left, value);
      sums[m][1] = (vec)_mm512_dpbf16_ps((__m512)sums[m][1], right, value);
    }
#else
    words left, right, upper = (words){} + 0xffff0000u;
    memcpy(&left, weight + k * 2 * PANEL, 64);
    memcpy(&right, weight + k * 2 * PANEL + 2 * LANES, 64);
#pragma GCC unroll 12
    for (int m = 0; m < rows; m++) {
      vec first = spread(bits_as_float(x[k * rows + m] << 16));
      vec second = spread(bits_as_float(x[k * rows + m] & 0xffff0000u));
      sums[m][0] += (vec)(left << 16) * first + (vec)(left & upper) * second;
      sums[m][1] += (vec)(right << 16) * first + (vec)(right & upper) * second;
    }
#endif
  }
  for (int m = 0; m < rows; m++) {
    *(loose_vec *)(out + m * PANEL) = sums[m][0];
    *(loose_vec *)(out + m * PANEL + LANES) = sums[m][1];
  }
}

static void any_panel(int rows, const pair *x, const number *weight, long inputs, float *out) {
  switch (rows) {
#define CASE(n) case n: panel(n, x, weight, inputs, out); break;
    CASE(1) CASE(2) CASE(3) CASE(4)
#if BLOCK > 4
    CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
  }
}

// 1 / sqrt(|x|^2 + floor)
static float inverse_length(const number *x, long width, float floor) {
  vec sums = spread(0.0f);
  float total = floor;
  long k = 0;
  for (; k + LANES <= width; k += LANES) sums += load(x + k) * load(x + k);
  for (int i = 0; i < LANES; i++) total += sums[i];
  for (; k < width; k++) total += get(x[k]) * get(x[k]);
  return 1.0f / sqrtf(total);
}

INLINE void store(const long count, const float *sums, const number *added, number *y) {
  if (added)
    for (long i = 0; i < count; i++) y[i] = put(sums[i] + get(added[i]));
  else
    for (long i = 0; i < count; i++) y[i] = put(sums[i]);
}

// y [rows, outputs] = x [rows, width] times the weight, and then, where asked for:
// divided by sqrt(|x|^2 + floor) of its row (floor >= 0); silu(gate) * up, for a weight whose panels hold 16
// outputs of either (gated); plus `residual`, which has y's shape and may be null.
// scratch: rows * (width + 2) + 64 floats.
void product(const number *x, const number *weight, number *y, const number *residual, float *scratch,
             long rows, long width, long outputs, float floor, int gated, int threads) {
  long inputs = (width + PAIR - 1) / PAIR, step = gated ? LANES : PANEL;
  long panels = (outputs + step - 1) / step, blocks = (rows + BLOCK - 1) / BLOCK;
  float *scales = scratch;
  pair *turned = (pair *)(scratch + rows);  // of each block of rows [inputs, rows]
  for (long m = 0; m < rows; m++) scales[m] = floor < 0 ? 1.0f : inverse_length(x + m * width, width, floor);
  for (long b = 0; b < blocks; b++) {
    long first = rows * b / blocks, height = rows * (b + 1) / blocks - first;
    for (long m = 0; m < height; m++) {
      const number *row = x + (first + m) * width;
      pair *target = turned + first * inputs + m;
#ifdef BFLOAT16
      for (long k = 0; k < width / 2; k++) target[k * height] = row[2 * k] | (uint32_t)row[2 * k + 1] << 16;
      if (width % 2) target[(inputs - 1) * height] = row[width - 1];
#else
      for (long k = 0; k < width; k++) target[k * height] = row[k];
#endif
    }
  }
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (long p = 0; p < panels; p++) {
    float sums[BLOCK * PANEL];
    long left = outputs - p * step < step ? outputs - p * step : step;
    for (long b = 0; b < blocks; b++) {
      long first = rows * b / blocks, height = rows * (b + 1) / blocks - first;
      any_panel(height, turned + first * inputs, weight + p * inputs * PAIR * PANEL, inputs, sums);
      for (long m = 0; m < height; m++) {
        float *sum = sums + m * PANEL, scale = scales[first + m];
        long at = (first + m) * outputs + p * step;
        if (gated) {
          vec gate = *(loose_vec *)sum * scale, up = *(loose_vec *)(sum + LANES) * scale;
          *(loose_vec *)sum = gate / (1.0f + exponential(-gate)) * up;
        } else {
          for (int i = 0; i < PANEL; i++) sum[i] *= scale;
        }
        const number *added = residual ? residual + at : 0;
        if (left == PANEL)
          store(PANEL, sum, added, y + at);
        else if (left == LANES)
          store(LANES, sum, added, y + at);
        else
          store(left, sum, added, y + at);
      }
    }
  }
}

#include "attention.h"
