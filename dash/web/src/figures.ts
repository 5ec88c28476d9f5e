// The figures of learning that are drawn for every member, as metrics.jsonl names them.

export const figures: [metric: string, title: string, about: string][] = [
  ["policy_loss", "policy loss", "the clipped objective, averaged over the minibatches"],
  ["value_loss", "value loss", "squared error, or the quantile Huber loss"],
  ["entropy", "entropy", "of the policy, in nats"],
  ["approx_kl", "KL divergence", "of the policy before and after the update, estimated"],
  ["clip_fraction", "clip fraction", "share of rows whose probability ratio left the clip range"],
  ["explained_variance", "explained variance", "of the returns by the critic; 1 is perfect"],
  ["grad_norm", "gradient norm", "after VGS and before clipping"],
  ["vgs_scale", "VGS scale", "what VGS multiplied the gradient by; 1: off"],
];
