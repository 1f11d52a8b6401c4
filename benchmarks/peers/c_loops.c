/* Three cells, forward and backward, by hand: REAL is float or double, BLAS_INT the integer of the BLAS whose gemm is given.

   A step is one product with the recurrent weights, then one loop over the units that does all the rest of it.  Errors are
   written over the gates.  x (T, B, m), h_ct (T, B, n); rows are contiguous.  Products up to SMALL multiplications, and those of
   one row, are loops that keep a strip of the result in registers; larger ones go to the BLAS. */

#include <math.h>
#include <string.h>

typedef void Gemm(int order, int ta, int tb, BLAS_INT M, BLAS_INT N, BLAS_INT K, REAL alpha, const REAL *A, BLAS_INT lda,
                  const REAL *B, BLAS_INT ldb, REAL beta, REAL *C, BLAS_INT ldc);
enum { ROWS = 101, AS_IT_IS = 111, TRANSPOSED = 112, SMALL = 1 << 15 };

#define STRIP(bytes, count)                                                                                                  \
    for (; j + (long)(count * bytes / sizeof(REAL)) <= N; j += count * bytes / sizeof(REAL)) {                               \
        typedef REAL V __attribute__((vector_size(bytes), aligned(sizeof(REAL)), may_alias));                                \
        V s[count];                                                                                                          \
        for (int v = 0; v < count; v++) s[v] = beta ? ((V *)(C + i * ldc + j))[v] : (V){0};                                  \
        for (long k = 0; k < K; k++)                                                                                         \
            for (int v = 0; v < count; v++) s[v] += A[i * row + k * column] * ((const V *)(B + k * ldb + j))[v];             \
        for (int v = 0; v < count; v++) ((V *)(C + i * ldc + j))[v] = s[v];                                                  \
    }

/* C (M, N) = beta C + op(A) B; op(A) is (M, K); beta is 0 or 1. */
static void product(Gemm *gemm, int ta, long M, long N, long K, const REAL *A, long lda, const REAL *B, long ldb, int beta,
                    REAL *C, long ldc)
{
    if (M > 1 && M * N * K > SMALL) {
        gemm(ROWS, ta ? TRANSPOSED : AS_IT_IS, AS_IT_IS, M, N, K, 1, A, lda, B, ldb, beta, C, ldc);
        return;
    }
    long row = ta ? 1 : lda, column = ta ? lda : 1;
    for (long i = 0; i < M; i++) {
        long j = 0;
        STRIP(64, 8)
        STRIP(64, 4)
        STRIP(64, 1)
        STRIP(32, 1)
        for (; j < N; j++) {
            REAL s = beta ? C[i * ldc + j] : 0;
            for (long k = 0; k < K; k++) s += A[i * row + k * column] * B[k * ldb + j];
            C[i * ldc + j] = s;
        }
    }
}

static REAL *transposed(const REAL *A, long rows, long columns, REAL *to)
{
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j++) to[j * rows + i] = A[i * columns + j];
    return to;
}

static inline REAL squash(REAL a) { return sizeof(REAL) == 4 ? tanhf(a) : tanh(a); }
static inline REAL sigmoid(REAL a) { return (REAL)0.5 * squash((REAL)0.5 * a) + (REAL)0.5; }

/* rows of a (R, k) = b + x W.T */
static void project(Gemm *gemm, long R, long k, long m, const REAL *x, const REAL *W_T, const REAL *b, REAL *a, long lda)
{
    for (long r = 0; r < R; r++) memcpy(a + r * lda, b, k * sizeof(REAL));
    product(gemm, 0, R, k, m, x, m, W_T, k, 1, a, lda);
}

static void sum_rows(long R, long k, const REAL *d, long ldd, REAL *out)
{
    memset(out, 0, k * sizeof(REAL));
    for (long r = 0; r < R; r++)
        for (long j = 0; j < k; j++) out[j] += d[r * ldd + j];
}

#define EACH_UNIT                   \
    for (long b_ = 0; b_ < B; b_++) \
        _Pragma("GCC ivdep") for (long j = 0; j < n; j++)

/* work: W_T (m n), U_T (n n), h (T + 1)(B n), h_bar (B n), d T (B n) */
void rnn(Gemm *gemm, long T, long B, long m, long n, const REAL *W, const REAL *U, const REAL *b, const REAL *x,
         const REAL *h_ct, REAL *W_bar, REAL *U_bar, REAL *b_bar, REAL *x_bar, REAL *work)
{
    long step = B * n;
    REAL *W_T = transposed(W, n, m, work), *U_T = transposed(U, n, n, W_T + m * n), *h = U_T + n * n;
    REAL *h_bar = h + (T + 1) * step, *d = h_bar + step;
    memset(h, 0, step * sizeof(REAL));
    project(gemm, T * B, n, m, x, W_T, b, h + step, n);
    for (long t = 0; t < T; t++) {
        REAL *h_t = h + (t + 1) * step;
        product(gemm, 0, B, n, n, h_t - step, n, U_T, n, 1, h_t, n);
        for (long j = 0; j < step; j++) h_t[j] = squash(h_t[j]);
    }
    for (long t = T - 1; t >= 0; t--) {
        const REAL *ct = h_ct + t * step, *h_t = h + (t + 1) * step;
        REAL *d_t = d + t * step;
        memcpy(h_bar, ct, step * sizeof(REAL));
        if (t < T - 1) product(gemm, 0, B, n, n, d_t + step, n, U, n, 1, h_bar, n);
        for (long j = 0; j < step; j++) d_t[j] = h_bar[j] * (1 - h_t[j] * h_t[j]);
    }
    product(gemm, 1, n, m, T * B, d, n, x, m, 0, W_bar, m);
    product(gemm, 1, n, n, T * B, d, n, h, n, 0, U_bar, n);
    product(gemm, 0, T * B, m, n, d, n, W, m, 0, x_bar, m);
    sum_rows(T * B, n, d, n, b_bar);
}

/* A step of a is [h~ z r u], then its errors.
   work: W_T (m 3n), U_T (n 3n), h (T + 1)(B n), a T (B 4n), v (B 3n), h_bar (B n), carry (B n) */
void gru(Gemm *gemm, long T, long B, long m, long n, const REAL *W, const REAL *U, const REAL *b, const REAL *c,
         const REAL *x, const REAL *h_ct, REAL *W_bar, REAL *U_bar, REAL *b_bar, REAL *c_bar, REAL *x_bar, REAL *work)
{
    long step = B * n, w = 4 * n;
    REAL *W_T = transposed(W, 3 * n, m, work), *U_T = transposed(U, 3 * n, n, W_T + 3 * m * n), *h = U_T + 3 * n * n;
    REAL *a = h + (T + 1) * step, *v = a + 4 * T * step, *h_bar = v + 3 * step, *carry = h_bar + step;
    memset(h, 0, step * sizeof(REAL));
    project(gemm, T * B, 3 * n, m, x, W_T, b, a, w);
    for (long t = 0; t < T; t++) {
        const REAL *before = h + t * step;
        REAL *h_t = h + (t + 1) * step, *a_t = a + 4 * t * step;
        product(gemm, 0, B, 3 * n, n, before, n, U_T, 3 * n, 0, v, 3 * n);
        EACH_UNIT
        {
            REAL *s = a_t + b_ * w + j;
            const REAL *v_j = v + 3 * b_ * n + j;
            REAL z = sigmoid(s[n] + v_j[0]), r = sigmoid(s[2 * n] + v_j[n]), u = v_j[2 * n] + c[j];
            REAL hh = squash(s[0] + r * u);
            s[0] = hh, s[n] = z, s[2 * n] = r, s[3 * n] = u;
            h_t[b_ * n + j] = hh + z * (before[b_ * n + j] - hh);
        }
    }
    memset(carry, 0, step * sizeof(REAL));
    for (long t = T - 1; t >= 0; t--) {
        const REAL *before = h + t * step, *ct = h_ct + t * step;
        REAL *a_t = a + 4 * t * step;
        for (long j = 0; j < step; j++) h_bar[j] = ct[j] + carry[j];
        if (t < T - 1) product(gemm, 0, B, n, 3 * n, a_t + 4 * step + n, w, U, n, 1, h_bar, n);
        EACH_UNIT
        {
            REAL *s = a_t + b_ * w + j, e = h_bar[b_ * n + j];
            REAL hh = s[0], z = s[n], r = s[2 * n], u = s[3 * n];
            REAL d_h = e * (1 - z) * (1 - hh * hh), d_u = d_h * r;
            carry[b_ * n + j] = e * z;
            s[0] = d_h, s[n] = e * z * (1 - z) * (before[b_ * n + j] - hh), s[2 * n] = d_u * u * (1 - r), s[3 * n] = d_u;
        }
    }
    product(gemm, 1, 3 * n, m, T * B, a, w, x, m, 0, W_bar, m);
    product(gemm, 1, 3 * n, n, T * B, a + n, w, h, n, 0, U_bar, n);
    product(gemm, 0, T * B, m, 3 * n, a, w, W, m, 0, x_bar, m);
    sum_rows(T * B, 3 * n, a, w, b_bar);
    sum_rows(T * B, n, a + 3 * n, w, c_bar);
}

/* A step of a is [o i f g], then its errors; tanh(c) is computed again on the way back.
   work: W_T (m 4n), U_T (n 4n), h (T + 1)(B n), c (T + 1)(B n), a T (B 4n), h_bar (B n), c_bar (B n) */
void lstm(Gemm *gemm, long T, long B, long m, long n, const REAL *W, const REAL *U, const REAL *b, const REAL *x,
          const REAL *h_ct, REAL *W_bar, REAL *U_bar, REAL *b_bar, REAL *x_bar, REAL *work)
{
    long step = B * n, w = 4 * n;
    REAL *W_T = transposed(W, w, m, work), *U_T = transposed(U, w, n, W_T + w * m), *h = U_T + w * n;
    REAL *c = h + (T + 1) * step, *a = c + (T + 1) * step, *h_bar = a + 4 * T * step, *c_bar = h_bar + step;
    memset(h, 0, step * sizeof(REAL));
    memset(c, 0, step * sizeof(REAL));
    project(gemm, T * B, w, m, x, W_T, b, a, w);
    for (long t = 0; t < T; t++) {
        REAL *h_t = h + (t + 1) * step, *c_t = c + (t + 1) * step, *a_t = a + 4 * t * step;
        product(gemm, 0, B, w, n, h_t - step, n, U_T, w, 1, a_t, w);
        EACH_UNIT
        {
            REAL *s = a_t + b_ * w + j;
            REAL o = sigmoid(s[0]), i = sigmoid(s[n]), f = sigmoid(s[2 * n]), g = squash(s[3 * n]);
            REAL c_j = f * c_t[b_ * n + j - step] + i * g;
            s[0] = o, s[n] = i, s[2 * n] = f, s[3 * n] = g;
            c_t[b_ * n + j] = c_j;
            h_t[b_ * n + j] = o * squash(c_j);
        }
    }
    memset(c_bar, 0, step * sizeof(REAL));
    for (long t = T - 1; t >= 0; t--) {
        const REAL *ct = h_ct + t * step, *c_t = c + (t + 1) * step;
        REAL *a_t = a + 4 * t * step;
        memcpy(h_bar, ct, step * sizeof(REAL));
        if (t < T - 1) product(gemm, 0, B, n, w, a_t + 4 * step, w, U, n, 1, h_bar, n);
        EACH_UNIT
        {
            REAL *s = a_t + b_ * w + j;
            REAL o = s[0], i = s[n], f = s[2 * n], g = s[3 * n], e = h_bar[b_ * n + j], q = squash(c_t[b_ * n + j]);
            REAL k = c_bar[b_ * n + j] + e * o * (1 - q * q);
            s[0] = e * q * o * (1 - o), s[n] = k * g * i * (1 - i);
            s[2 * n] = k * c_t[b_ * n + j - step] * f * (1 - f), s[3 * n] = k * i * (1 - g * g);
            c_bar[b_ * n + j] = k * f;
        }
    }
    product(gemm, 1, w, m, T * B, a, w, x, m, 0, W_bar, m);
    product(gemm, 1, w, n, T * B, a, w, h, n, 0, U_bar, n);
    product(gemm, 0, T * B, m, w, a, w, W, m, 0, x_bar, m);
    sum_rows(T * B, w, a, w, b_bar);
}

/* The products of a cell with k gates and nothing else.
   work: W_T (m k n), U_T (n k n), W_bar (k n m), U_bar (k n n), h (T + 1)(B n), d (T + 1)(B k n), x and x_bar T (B m) */
void gemms(Gemm *gemm, long T, long B, long m, long n, long k, const REAL *W, const REAL *U, REAL *work)
{
    long w = k * n;
    REAL *W_T = work, *U_T = W_T + m * w, *W_bar = U_T + n * w, *U_bar = W_bar + w * m, *h = U_bar + w * n;
    REAL *d = h + (T + 1) * B * n, *x = d + (T + 1) * B * w, *x_bar = x + T * B * m;
    product(gemm, 0, T * B, w, m, x, m, W_T, w, 0, d, w);
    for (long t = 0; t < T; t++) product(gemm, 0, B, w, n, h + t * B * n, n, U_T, w, 0, d + t * B * w, w);
    for (long t = T; t > 0; t--) product(gemm, 0, B, n, w, d + t * B * w, w, U, n, 0, h + t * B * n, n);
    product(gemm, 1, w, m, T * B, d, w, x, m, 0, W_bar, m);
    product(gemm, 1, w, n, T * B, d, w, h, n, 0, U_bar, n);
    product(gemm, 0, T * B, m, w, d, w, W, m, 0, x_bar, m);
}
