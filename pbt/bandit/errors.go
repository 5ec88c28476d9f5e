package bandit

import "errors"

// ErrFewData says that there are fewer than [MinObservations] observations.
var ErrFewData = errors.New("bandit: too few observations")
