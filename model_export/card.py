"""The model card that lies beside a model: what it is for, what it was made from, how good it is, where it fails.

After Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from typing import Final

from schemas.manifest import Manifest

CARD_NAME: Final = "model_card.md"


def card(manifest: Manifest) -> str:
    """Markdown."""
    return "\n\n".join((_head(manifest), _made_from(manifest), _shop(manifest), _figures(manifest), _LIMITS)) + "\n"


def _head(manifest: Manifest) -> str:
    return f"""# Model card: {manifest.model_version}

**What it does.** Reads a customer's last 64 active days and tells the chance that they will not buy again within any
number of days, at any silence. Heads: {", ".join(manifest.heads)}. Alerts use {manifest.horizon_days} days.

**For** online shops that want to know which customers are about to be lost. **Not for** decisions about credit, price
or access to a person's detriment.

**What it is.** A causal Transformer over user-days with one shop token, about 100,000 parameters, exported to ONNX
(feature version {manifest.feature_version}). Licence: {manifest.licence}."""


def _made_from(manifest: Manifest) -> str:
    made = manifest.pretraining
    text = f"""**Pre-training.** {made.customers:,} customers of {made.shops:,} simulated shops
(seed {made.seed}, {made.steps:,} steps, PyTorch {made.torch_version}); no real customer's data. Habits simulated:
{", ".join(made.families)}."""
    tuned = manifest.fine_tuning
    if tuned is None:
        return text + "\n\n**Fine-tuning.** None."
    if not tuned.steps:
        return text + f"\n\n**Fine-tuning.** Tried; the base weights were kept: {tuned.why_base}."
    return text + (
        f"\n\n**Fine-tuning.** {tuned.steps} steps on the shop's own log; on its latest days, held back, the loss\n"
        f"fell from {tuned.base_loss} to {tuned.validation_loss} nats per customer."
    )


def _shop(manifest: Manifest) -> str:
    if manifest.shop is None:
        return (
            "**Shop.** Unknown: the shop token is that of an average simulated shop. `ebbtide train calibrate` sets it."
        )
    data, calibration = manifest.shop, manifest.calibration
    share = f"{calibration.persistence:.0%} of what they missed"
    how = f"on the last {calibration.window_days} days:\noffset {calibration.offset}, {share}"
    if not calibration.window_days:
        how = "left neutral: the log is too short, or has too few customers,\nto hold back its latest days"
    return f"""**Shop.** {data.source}: {data.events:,} events of {data.users:,} users from {data.first_day}
until {data.until} (time zone {data.timezone}, SHA-256 {data.sha256[:16]}…). Calibration {how}."""


def _figures(manifest: Manifest) -> str:
    tiers = manifest.thresholds
    rows = "\n".join(f"| {name} | {value:g} |" for name, value in manifest.metrics.items())
    return f"""**Thresholds.** At risk from {tiers.at_risk:.4f}, critical from {tiers.critical:.4f}: meant to alert
{manifest.alert_budget:.0%} of the active customers in {manifest.horizon_days} days,
under a policy with {manifest.grace_days:g} days of grace.

| metric | value |
|---|---|
{rows}"""


_LIMITS: Final = """**Limits.** It knows what events tell: nothing of stock, of others' prices, or of a person's life.
It counts in calendar days and says nothing about hours. It has no notion of the season: a shop whose trade depends on
the time of year should calibrate again when the season turns. The simulated shops decide what is taken for usual; a
shop unlike all of them is scored worse, and `ebbtide evaluate` on the shop's own log shows by how much."""
