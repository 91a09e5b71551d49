// How many secret bits a block holds: finite-key decoy BB84 with one decoy. Rusca et al. 2018, eqs A16-A25: key from Z at
// both intensities, X disclosed, nineteen epsilons.

const TERMS = 19;
const sum = ([a, b]) => a + b;
const entropy = (p) => (p <= 0 || p >= 1 ? 0 : -p * Math.log2(p) - (1 - p) * Math.log2(1 - p));
const deviation = (count, eps) => Math.sqrt((count / 2) * Math.log(1 / eps));

/**
 * {secretBits, reason}: reason says why there is no key. Counts are [signal, decoy]; `leaked`: bits said in the clear.
 * Throws when counts cannot be.
 */
export function keyEstimate({ z, zErrors, x, xErrors, intensities, probs, epsSec, epsCor, leaked }) {
  for (const [counts, errors] of [[z, zErrors], [x, xErrors]]) {
    if (counts.length !== 2 || errors.length !== 2 || counts.some((n, i) => !(errors[i] >= 0 && errors[i] <= n))) {
      throw new RangeError(`counts ${counts} with ${errors} errors`);
    }
  }
  const [mu1, mu2] = intensities, eps = epsSec / TERMS;
  const tau = (photons) => intensities.reduce((t, k, i) => t + probs[i] * Math.exp(-k) * k ** photons, 0);
  const scaled = (counts, i, sign) =>
    (Math.exp(intensities[i]) / probs[i]) * (counts[i] + sign * deviation(sum(counts), eps));
  const vacuumLower = (n) => {
    const bound = (tau(0) / (mu1 - mu2)) * (mu1 * scaled(n, 1, -1) - mu2 * scaled(n, 0, 1));
    return Math.min(Math.max(bound, 0), sum(n));
  };
  const vacuumUpper = (n, m) => {
    const seen = Math.min(scaled(m, 0, 1), scaled(m, 1, 1));
    return Math.min(2 * (tau(0) * seen + deviation(sum(n), eps)), sum(n));
  };
  const singleLower = (n, m) => {
    const ratio = (mu2 / mu1) ** 2;
    const bound = scaled(n, 1, -1) - ratio * scaled(n, 0, 1) - ((1 - ratio) * vacuumUpper(n, m)) / tau(0);
    return ((tau(1) * mu1) / (mu2 * (mu1 - mu2))) * bound;
  };
  const vacuum = vacuumLower(z);
  const singleZ = Math.min(singleLower(z, zErrors), sum(z) - vacuum);
  const singleX = Math.min(singleLower(x, xErrors), sum(x));
  if (singleZ < 1 || singleX < 1) return { secretBits: 0, reason: "single-photon-bound" };
  const errors = Math.max((tau(1) / (mu1 - mu2)) * (scaled(xErrors, 0, 1) - scaled(xErrors, 1, -1)), 0);
  const phase = phaseErrors(errors, singleZ, singleX, epsSec);
  if (phase >= 0.5) return { secretBits: 0, reason: "phase-error-bound" };
  const spent = leaked + 6 * Math.log2(TERMS / epsSec) + Math.log2(2 / epsCor);
  const length = vacuum + singleZ * (1 - entropy(phase)) - spent;
  return length < 1 ? { secretBits: 0, reason: "leak" } : { secretBits: Math.floor(length), reason: "" };
}

function phaseErrors(errors, singleKey, singleTest, epsSec) {
  // one error, which is more than none, keeps the sampling's own deviation in
  const rate = Math.max(errors, 1) / singleTest;
  if (rate >= 0.5) return 0.5;
  const total = singleKey + singleTest, variance = (1 - rate) * rate;
  const argument = (total / (singleKey * singleTest * variance)) * (TERMS / epsSec) ** 2;
  const spread = ((total * variance) / (singleKey * singleTest * Math.log(2))) * Math.log2(argument);
  return Math.min(rate + Math.sqrt(Math.max(spread, 0)), 0.5);
}
