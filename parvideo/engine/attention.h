// Attention of few queries over cached keys and values: the second half of kernels.c, which includes it.

#define QUERIES 16  // whose scores are held at a time
#define FEW 4  // queries up to which attention is bound by reading
#define AHEAD 64  // slots
#define HALF_LOW 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HALF_HIGH 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define QUARTER_LOW 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define QUARTER_HIGH 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#define TWO_LOW 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29
#define TWO_HIGH 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define MERGE_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define MERGE_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define FOLD(a, b, low, high) (SHUFFLE(a, b, low) + SHUFFLE(a, b, high))

// Ask for `count` numbers that are read soon, AHEAD slots after slot k of `length`: in the array at hand, or
// at the // beginning of the next. A short burst of reading is over before the processor sees that it is one.
INLINE void fetch(const number *at_hand, const number *next, long k, long length, int d, int count) {
  const number *from = k + AHEAD < length ? at_hand + (k + AHEAD) * d : next + (k + AHEAD - length) * d;
  for (int i = 0; i < count; i += 64 / (int)sizeof(number)) __builtin_prefetch(from + i, 0, 2);
}

// The sum of each of 16 vectors.
INLINE vec sums_of(const vec *v) {
  vec a[8], b[4], c[2];
  for (int i = 0; i < 8; i++) a[i] = FOLD(v[2 * i], v[2 * i + 1], HALF_LOW, HALF_HIGH);
  for (int i = 0; i < 4; i++) b[i] = FOLD(a[2 * i], a[2 * i + 1], QUARTER_LOW, QUARTER_HIGH);
  for (int i = 0; i < 2; i++) c[i] = FOLD(b[2 * i], b[2 * i + 1], TWO_LOW, TWO_HIGH);
  return FOLD(c[0], c[1], EVEN, ODD);
}

// 16 vectors as a matrix, transposed: four perfect shuffles of its rows.
INLINE void transpose(vec *v) {
  vec w[LANES];
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 8; i++) {
      w[2 * i] = SHUFFLE(v[i], v[i + 8], MERGE_LOW);
      w[2 * i + 1] = SHUFFLE(v[i], v[i + 8], MERGE_HIGH);
    }
    for (int i = 0; i < 8; i++) {
      v[2 * i] = SHUFFLE(w[i], w[i + 8], MERGE_LOW);
      v[2 * i + 1] = SHUFFLE(w[i], w[i + 8], MERGE_HIGH);
    }
  }
}

// Scores of n queries with 16 keys, from the keys transposed [d, 16].
INLINE void block_scores(const int n, const int d, const float *queries, const vec *keys, float *out, long
row) {
  vec sums[n];
  for (int m = 0; m < n; m++) sums[m] = spread(0.0f);
#pragma GCC unroll 4
  for (int i = 0; i < d; i++)
#pragma GCC unroll 8
    for (int m = 0; m < n; m++) sums[m] += keys[i] * queries[m * d + i];
  for (int m = 0; m < n; m++) *(loose_vec *)(out + m * row) = sums[m];
}

// Scores of `count` queries [count, d] with the keys [length, d]: out [count, row], row >= length + 15.
// Values are // read next.
INLINE void all_scores(const int d, int count, const float *queries, const number *keys, long length, float
*out,
                       long row, const number *values) {
  vec turned[d];
  for (long k = 0; k < length; k += LANES) {
    const number *part[LANES];
    if (count <= FEW) fetch(keys, values, k, length, d, LANES * d);
    for (int j = 0; j < LANES; j++) part[j] = keys + (k + j < length ? k + j : length - 1) * d;
    if (count <= 2) {
      for (int m = 0; m < count; m++) {
        vec sums[LANES];
        for (int j = 0; j < LANES; j++) {
          sums[j] = spread(0.0f);
          for (int i = 0; i < d; i += LANES)
            sums[j] += load(part[j] + i) * *(const loose_vec *)(queries + m * d + i);
        }
        *(loose_vec *)(out + m * row + k) = sums_of(sums);
      }
      continue;
    }
    for (int i = 0; i < d; i += LANES) {
      for (int j = 0; j < LANES; j++) turned[i + j] = load(part[j] + i);
      transpose(turned + i);
    }
    int m = 0;
    for (; m + 8 <= count; m += 8) block_scores(8, d, queries + m * d, turned, out + m * row + k, row);
    for (; m + 4 <= count; m += 4) block_scores(4, d, queries + m * d, turned, out + m * row + k, row);
    for (; m < count; m++) block_scores(1, d, queries + m * d, turned, out + m * row + k, row);
  }
}

// Values [length, d] weighed by n rows of weights [n, row]: out [n, d]. `next` is read next.
INLINE void block_values(const int n, const int d, const float *weights, long row, const number *values,
                         long length, float *out, const number *next) {
  vec sums[n][d / LANES];
  for (int m = 0; m < n; m++)
    for (int i = 0; i < d / LANES; i++) sums[m][i] = spread(0.0f);
  for (long k = 0; k < length; k++) {
    if (n <= FEW) fetch(values, next, k, length, d, d);
    for (int i = 0; i < d / LANES; i++) {
      vec value = load(values + k * d + i * LANES);
#pragma GCC unroll 6
      for (int m = 0; m < n; m++) sums[m][i] += value * weights[m * row + k];
    }
  }
  for (int m = 0; m < n; m++)
    for (int i = 0; i < d / LANES; i++) *(loose_vec *)(out + m * d + i * LANES) = sums[m][i];
}

// Scores [row] to weights that are not yet divided by their sum, which is returned; those past `visible` to
// 0.
INLINE float soften(float *scores, long row, long visible) {
  for (long k = visible; k < row; k++) scores[k] = -INFINITY;
  vec most = spread(-INFINITY), sum = spread(0.0f);
  for (long k = 0; k < row; k += LANES) {
    vec s = *(loose_vec *)(scores + k);
    ints more = s > most;
    most = (vec)(((ints)s & more) | ((ints)most & ~more));
  }
  float largest = most[0], total = 0;
  for (int i = 1; i < LANES; i++) largest = most[i] > largest ? most[i] : largest;
  for (long k = 0; k < row; k += LANES) {
    vec e = exponential(*(loose_vec *)(scores + k) - largest);
    if (k + LANES > visible)
      for (int i = 0; i < LANES; i++) e[i] = k + i < visible ? e[i] : 0.0f;
    *(loose_vec *)(scores + k) = e;
    sum += e;
  }
  for (int i = 0; i < LANES; i++) total += sum[i];
  return total;
}

// One key head of one row: its new keys and values into the cache, then the attention of its queries.
INLINE void one_head(const int d, const number *heads, long width, const float *turns, long turn_width,
                     number *keys, number *values, number *out, long out_width, float *scratch, long count,
                     long shared, long query, long key, long value, long start, long slots, int causal) {
  long length = start + count, all = shared * count, row = (length + LANES - 1) / LANES * LANES;
  float *queries = scratch, *scores = queries + all * d, *sums = scores + QUERIES * row;
  for (long s = 0; s < count; s++) {
    const float *turn = turns + s * turn_width + key * d;
    const number *from = heads + s * width + key * d;
    number *to = keys + (start + s) * d;
    for (int i = 0; i < d; i += 2) {
      float a = get(from[i]), b = get(from[i + 1]);
      to[i] = put(a * turn[i] - b * turn[i + 1]);
      to[i + 1] = put(a * turn[i + 1] + b * turn[i]);
    }
    memcpy(values + (start + s) * d, heads + s * width + value * d, d * sizeof(number));
    for (long j = 0; j < shared; j++) {
      turn = turns + s * turn_width + (query + j) * d;
      from = heads + s * width + (query + j) * d;
      float *q = queries + (j * count + s) * d;
      for (int i = 0; i < d; i += 2) {
        float a = get(from[i]), b = get(from[i + 1]);
        q[i] = a * turn[i] - b * turn[i + 1];
        q[i + 1] = a * turn[i + 1] + b * turn[i];
      }
    }
  }
  const int most = 24 * LANES / d < 6 ? 24 * LANES / d : 6;
  for (long first = 0; first < all; first += QUERIES) {
    int held = all - first < QUERIES ? all - first : QUERIES;
    float totals[QUERIES];
    all_scores(d, held, queries + first * d, keys, length, scores, row, values);
    for (int m = 0; m < held; m++) {
      long s = (first + m) % count;
      totals[m] = soften(scores + m * row, row, causal ? start + s + 1 : length);
    }
    for (int m = 0; m < held;) {
      int n = held - m < most ? held - m : most;
      const float *weights = scores + m * row;
      switch (n) {
#define SOME(n) case n: block_values(n, d, weights, row, values, length, sums, keys + slots * d); break;
        SOME(1) SOME(2) SOME(3) SOME(4) SOME(5) SOME(6)
      }
      for (int i = 0; i < n; i++) {
        long s = (first + m + i) % count, j = (first + m + i) / count;
        float scale = 1.0f / totals[m + i];
        for (int c = 0; c < d; c++) out[s * out_width + (query + j) * d + c] = put(sums[i * d + c] * scale);
      }
      m += n;
    }
  }
}

// Attention of a step: heads [rows, count, query_heads + 2 key_heads, d], not yet turned; turns
// [count, query_heads + 2 key_heads, d / 2] complex, with attention's scale in those of queries; keys and
// values [rows, key_heads, slots, d], of which those of `start` on are written; out [rows, count,
// query_heads * d].
// A query sees all slots up to start + count, or (causal) those up to its own.
// scratch: scratch_width floats a thread, of at least shared*count*d + 16*(start+count+15) + 6*d.
// Returns 0, or 1 if there is no code for this d.
int attend(const number *heads, const float *turns, number *keys, number *values, number *out, float *scratch,
           long rows, long count, long query_heads, long key_heads, long d, long slots, long start,
           int causal, long scratch_width, int threads) {
  long shared = query_heads / key_heads, all = query_heads + 2 * key_heads, tasks = rows * key_heads;
  if (d != 32 && d != 64 && d != 128) return 1;
  if (tasks < threads) threads = tasks;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int thread = 0; thread < threads; thread++)
    for (long task = tasks * thread / threads; task < tasks * (thread + 1) / threads; task++) {
      long r = task / key_heads, h = task % key_heads;
      const number *mine = heads + r * count * all * d;
      number *k = keys + task * slots * d, *v = values + task * slots * d;
      number *o = out + r * count * query_heads * d;
      float *space = scratch + thread * scratch_width;
#define HEAD(n) one_head(n, mine, all * d, turns, all * d, k, v, o, query_heads * d, space, count, shared, \
                         h * shared, query_heads + h, query_heads + key_heads + h, start, slots, causal)
      if (d == 32) HEAD(32);
      else if (d == 64) HEAD(64);
      else HEAD(128);
    }
  return 0;
}
